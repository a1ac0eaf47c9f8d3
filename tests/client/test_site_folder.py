"""A hospital's folder: what is in it is read back, and an edited one is a sentence."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from client.site_folder import SiteFolder, make_site
from core.errors import SecurityError

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_names_and_keys_come_back(tmp_path: Path) -> None:
    make_site("north", "heart", folder=tmp_path / "heart", now=NOW)
    found = SiteFolder(tmp_path / "heart")
    assert (found.site, found.study) == ("north", "heart")
    assert found.node_key().curve.name == "secp384r1"
    assert found.log().head().length == 3  # opened, a record for each key


@pytest.mark.parametrize("site", ["../x", 5, None])
def test_an_edited_name_is_refused(tmp_path: Path, site: object) -> None:
    folder = make_site("north", "heart", folder=tmp_path / "heart", now=NOW)
    path = folder.path / "site.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"site": site}))
    with pytest.raises(SecurityError, match="is no name"):
        assert SiteFolder(folder.path).site
    path.write_text("[]")
    with pytest.raises(SecurityError, match="must hold"):
        assert SiteFolder(folder.path).site
