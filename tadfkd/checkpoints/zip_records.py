"""The records of a checkpoint that is a zip file."""
import struct
import zipfile
from typing import BinaryIO


def find_records(file: BinaryIO, size: int) -> dict[str, zipfile.ZipInfo]:
    """The records of a zip file as torch finds them.

    Args:
        file: Begins with the first record.
        size: The length of the file in bytes.

    Returns:
        The records by name, in the order of the central directory. No two
        records overlap, and each has its stated length.

    Raises:
        ValueError: If records are compressed or overlap, because they would
            take more memory than the file has. Also if two readers could
            find different records: because of a comment, of bytes around
            the records, or of a duplicate name.
    """
    file.seek(max(size - 98, 0))
    tail = file.read().rjust(98, b'\0')
    *_, listing_size, listing_start, comment = struct.unpack(
        '<4s4H2LH', tail[-22:])
    end = size - 22
    if tail[-42:-38] == b'PK\6\7':
        end, = struct.unpack('<Q', tail[-34:-26])
        listing_size, listing_start = struct.unpack('<2Q', tail[-58:-42])
        if end != size - 98 or tail[:4] != b'PK\6\6':
            raise ValueError('its zip64 end record is not at the stated place')
    if tail[-22:-18] != b'PK\5\6' or comment \
            or listing_start + listing_size != end:
        raise ValueError('it does not end as torch.save ends a file')
    infos = zipfile.ZipFile(file).infolist()
    # Some readers ignore the case of names.
    if len({info.filename.lower() for info in infos}) != len(infos):
        raise ValueError('it has two records of one name')
    if any(info.filename.endswith('/constants.pkl') for info in infos):
        raise ValueError('it is a TorchScript archive, not a checkpoint')
    free = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.compress_type != zipfile.ZIP_STORED \
                or info.compress_size != info.file_size:
            raise ValueError(f'its record {info.filename} is compressed, '
                             'which torch.save never does')
        if info.header_offset < free:
            raise ValueError(f'its record {info.filename} overlaps another')
        free = info.header_offset + 30 + len(info.filename) + info.file_size
    if free > listing_start:
        raise ValueError('its records are longer than the file')
    return {info.filename: info for info in infos}
