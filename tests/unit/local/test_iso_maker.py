"""The maker of test media is fast, sparse and says where things are."""

from pathlib import Path

import pytest

from isodrop_local.iso_maker import LAYOUTS, Content, business_editions, make_image, make_iso
from isodrop_local.iso_maker.image import Image


def test_five_gigabytes_take_hardly_any_memory_and_disk(tmp_path: Path) -> None:
    # That is why they take a tenth of a second:
    # ``python -m isodrop_local.iso_maker PATH --size BYTES`` says.
    made = make_iso(tmp_path / "large.iso", size=5_400_000_000)

    assert sum(len(data) for _, data in make_image(size=5_400_000_000).content.pieces) < 1 << 20
    assert made.stat().st_size == 5_400_000_000 // 2048 * 2048
    assert made.stat().st_blocks * 512 < 4 << 20


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_written_is_what_is_in_memory(layout: str, tmp_path: Path) -> None:
    image = make_image(layout=layout)

    assert image.write(tmp_path / "x.iso").read_bytes() == image.read(0, image.size)


def test_changes_leave_the_original_alone() -> None:
    image = Image(Content(100, ((10, b"abcdef"), (20, b"xyz"))))

    changed = image.changed(12, b"0123456789")

    assert changed.read(8, 18) == b"\0\0ab0123456789z\0\0\0"
    assert image.read(8, 18) == b"\0\0abcdef\0\0\0\0xyz\0\0\0"
    assert image.cut(12).read(8, 4) == b"\0\0ab"


def test_enterprise_is_not_third_unless_wished() -> None:
    assert business_editions()[2].edition_id != "Enterprise"
    assert business_editions(enterprise_index=3)[2].edition_id == "Enterprise"
    with pytest.raises(ValueError, match="1 to 11"):
        business_editions(enterprise_index=12)
