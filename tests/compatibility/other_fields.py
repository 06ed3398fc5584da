"""`cifake-tune` whose messages to the chief have one field more than those of this version, or lack optional ones.

python other_fields.py more|fewer ARGUMENT…
"""

import json
import sys

from tuner.cli.app import main
from tuner.rpc import lease_service

OPTIONAL = ("format", "version", "pod", "device", "gpus", "problem", "scope", "failing_s")
"""Fields that the first version did not have, or that have a default."""
_encode = lease_service._encode


def encode(message: lease_service.Message) -> bytes:
    """Return the message as a worker of another version sends it."""
    document = json.loads(_encode(message))
    if sys.argv[1] == "more":
        document |= {"unheard": {"of": [1]}}
    else:
        document = {key: value for key, value in document.items() if key not in OPTIONAL}
    return json.dumps(document).encode()


if __name__ == "__main__":
    lease_service._encode = encode
    sys.argv[1:] = sys.argv[2:]
    main()
