"""Tests of how an image's layers are unpacked: python -m unittest local.tests.test_images"""

from __future__ import annotations

import io
import tarfile
import tempfile
import unittest
from pathlib import Path

from local.emulator.images import OPAQUE, NotFound, _unpack


def layer(*members: tuple[str, bytes, str]) -> bytes:
    """A layer of members: name, type, and content or where the link leads."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind, text in members:
            member = tarfile.TarInfo(name)
            member.type, member.mode = kind, 0o755
            if kind == tarfile.REGTYPE:
                member.size = len(text)
            else:
                member.linkname = text
            archive.addfile(member, io.BytesIO(text.encode()) if kind == tarfile.REGTYPE else None)
    return out.getvalue()


FILE, FOLDER, SYMLINK, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


class Unpack(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root, self.mine = Path(folder.name) / "root", Path(folder.name) / "mine"
        self.root.mkdir()
        self.mine.write_text("mine")

    def tearDown(self) -> None:
        self.assertEqual(self.mine.read_text(), "mine", "a file outside of the image was changed")

    def unpack(self, *members: tuple[str, bytes, str]) -> None:
        _unpack(layer(*members), self.root)

    def test_a_file_replaces_a_link_of_a_lower_layer(self) -> None:
        self.unpack(("etc/localtime", SYMLINK, str(self.mine)))
        self.unpack(("etc/localtime", FILE, "theirs"))
        self.assertEqual((self.root / "etc/localtime").read_text(), "theirs")
        self.assertFalse((self.root / "etc/localtime").is_symlink())

    def test_files_and_folders_replace_each_other(self) -> None:
        self.unpack(("a/x", FILE, "x"), ("b", FILE, "b"), ("c", SYMLINK, str(self.mine.parent)))
        self.unpack(("a", FILE, "a"), ("b", FOLDER, ""), ("b/x", FILE, "x"), ("c", FOLDER, ""))
        self.assertTrue((self.root / "a").is_file() and (self.root / "b/x").is_file() and (self.root / "c").is_dir())
        self.assertFalse((self.root / "c").is_symlink())

    def test_a_hard_link_stays_in_the_image(self) -> None:
        self.unpack((".", FOLDER, ""), ("./bin/x", FILE, "x"))
        self.unpack(("bin/y", HARDLINK, "/bin/x"))
        self.assertEqual((self.root / "bin/y").read_text(), "x")
        with self.assertRaises(FileNotFoundError):
            self.unpack(("bin/z", HARDLINK, str(self.mine)), ("bin/z", FILE, "theirs"))

    def test_what_a_layer_deletes_is_gone(self) -> None:
        self.unpack(("a/x", FILE, "x"), ("a/y", FILE, "y"), ("b/x", FILE, "x"))
        self.unpack(("a/.wh.x", FILE, ""), ("b/y", FILE, "y"), (f"b/{OPAQUE}", FILE, ""))
        self.assertEqual([p.name for p in (self.root / "a").iterdir()], ["y"])
        self.assertEqual([p.name for p in (self.root / "b").iterdir()], ["y"])

    def test_a_folder_can_be_written_and_removed_whatever_its_mode(self) -> None:
        closed = tarfile.TarInfo("closed")
        closed.type, closed.mode = FOLDER, 0o555
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            archive.addfile(closed)
        _unpack(out.getvalue(), self.root)
        self.assertEqual((self.root / "closed").stat().st_mode & 0o777, 0o755)

    def test_nothing_is_written_or_deleted_outside(self) -> None:
        self.unpack(("out", SYMLINK, str(self.mine.parent)))
        for member in ("../mine", "a/../../mine", "out/mine", "out/.wh.mine", ".wh...", "out/" + OPAQUE):
            with self.subTest(member), self.assertRaises(NotFound):
                self.unpack((member, FILE, "theirs"))


if __name__ == "__main__":
    unittest.main()
