"""docs/local.md lists every resource type of local/emulator/resources.py, with its kind."""

import re
import unittest
from pathlib import Path

from local.emulator.resources import KINDS

PAGE = Path(__file__).resolve().parents[2] / "docs/local.md"


class Documents(unittest.TestCase):
    def test_the_table_says_what_each_type_is(self) -> None:
        documented = {}
        for kind, types in re.findall(r"^\| (real|stored|declared) \| (.*?) \|", PAGE.read_text(), re.MULTILINE):
            prefix = ""
            for name in re.findall(r"`([\w:]+)`", types):
                # AWS::EC2::VPC, Subnet, …: a name alone goes on with the service before it.
                if "::" in name:
                    prefix = name.rsplit("::", 1)[0]
                documented[name if "::" in name else f"{prefix}::{name}"] = kind
        self.assertEqual(documented, KINDS)


if __name__ == "__main__":
    unittest.main()
