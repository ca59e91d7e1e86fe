"""Print what a shell exports so that its programs find the software driver at `NODE`."""

import shlex

from tests.lab.software_va import NODE, software_va

print(f"# The device is {NODE}.")
for name, value in software_va().variables().items():
    print(f"export {name}={shlex.quote(value)}")
