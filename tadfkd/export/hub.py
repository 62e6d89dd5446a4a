"""A student in a repository of the Hugging Face Hub."""
import os

from tadfkd.errors import UserError, reason_of


def require_hub(repository: str) -> None:
    """Refuse an upload that cannot work, before a student is written for it.

    Args:
        repository: ``'owner/name'``.

    Raises:
        UserError: If huggingface_hub is missing, or the name is not allowed.
    """
    try:
        from huggingface_hub.utils import validate_repo_id
    except ImportError as error:
        raise UserError('an upload needs huggingface_hub: run `pip install '
                        '"tadfkd[hub]"`, or leave --push out') from error
    try:
        if repository.count('/') != 1:
            raise ValueError('it is not owner/name')
        validate_repo_id(repository)
    except ValueError as error:
        raise UserError(f'{repository!r} cannot be the name of a repository '
                        f'({reason_of(error)}): give owner/name, such as '
                        'jane/digits-student') from error


def push_student(folder: str | os.PathLike, repository: str) -> str:
    """Upload a student. A repository that does not exist is made, private.

    Args:
        folder: The folder ``student/`` of a run.
        repository: ``'owner/name'``.

    Returns:
        The address of the repository.

    Raises:
        UserError: If it cannot be uploaded.
    """
    require_hub(repository)
    from huggingface_hub import HfApi
    api = HfApi()
    try:
        address = api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder)
    except Exception as error:
        # The network, the server and the library have errors of their own.
        raise UserError(
            f'the student in {folder} was not uploaded to {repository} '
            f'({reason_of(error)}): log in by `hf auth login` with a token '
            'that may write there, and run the command again') from error
    return str(address)
