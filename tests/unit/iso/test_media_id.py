"""The media's identity: equal for equal discs, and for no others."""

from hashlib import sha256

from isodrop_local.iso_maker import EditionSpec, business_editions, make_image, make_wim
from isodrop_local.iso_maker.meter import look


def test_the_same_disc_has_the_same_identity() -> None:
    assert look(make_image()).media_id == look(make_image()).media_id


def test_it_is_what_the_docstring_says() -> None:
    # Given a disc, and each field of its identity taken from where it lies
    image = make_image()
    primary, logical = (image.places[f"main {at}"] for at in (0, 3))
    wim = image.places["/sources/install.wim"]
    header = image.read(wim, 208)
    length = int.from_bytes(header[0x48:0x4F], "little")
    offset = int.from_bytes(header[0x50:0x58], "little")
    fields = (
        b"isodrop media 1",
        image.size.to_bytes(8, "big"),
        image.read(primary + 24, 32),
        image.read(primary + 72, 128),
        image.read(logical + 84, 128),
        header,
        image.read(wim + offset, length),
    )

    # Then the identity is the SHA-256 over them, each with its length before it
    whole = b"".join(len(part).to_bytes(8, "big") + part for part in fields)
    assert look(image).media_id == sha256(whole).hexdigest()


def test_every_field_of_it_matters() -> None:
    others = [
        make_image(),
        make_image(label="ANOTHER"),
        make_image(editions=business_editions(revision=1)),
        make_image(size=4_000_000),
        make_image(wim=make_wim(business_editions(), guid=b"0123456789abcdef")),
        make_image(editions=[EditionSpec("Enterprise", "Windows 11 Enterprise")]),
    ]

    assert len({look(image).media_id for image in others}) == len(others)
