"""Classifiers are built from their model dicts."""
import sys

import pytest

from tadfkd.classifiers.build import build_classifier
from tadfkd.errors import UserError


@pytest.mark.parametrize('library, kind',
                         [('timm', 'TimmClassifier'),
                          ('transformers', 'HuggingFaceClassifier')])
def test_a_library_that_is_not_installed_comes_with_its_cure(
        monkeypatch: pytest.MonkeyPatch, library: str, kind: str) -> None:
    pytest.importorskip(library)
    # As if it could not be imported, whatever of it is imported already.
    for name in [*sys.modules, f'{library}.models']:
        if name.partition('.')[0] == library:
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError) as caught:
        build_classifier(dict(type=kind, model_name='x'))
    assert str(caught.value) == (
        f'{kind} needs {library}: run `pip install "tadfkd[{library}]"`')


@pytest.mark.parametrize('model, problem', [
    (dict(type='TimmClassifier', model_name='no_such_net'), "'no_such_net'"),
    (dict(type='HuggingFaceClassifier',
          model_name='no/such/folder'), "'no/such/folder'"),
])
def test_a_model_that_its_library_does_not_know_is_a_user_error(
        monkeypatch: pytest.MonkeyPatch, model: dict, problem: str) -> None:
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    with pytest.raises(UserError, match=problem) as caught:
        build_classifier(model)
    assert '\n' not in str(caught.value)
