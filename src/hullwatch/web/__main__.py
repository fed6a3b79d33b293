"""``python -m hullwatch.web`` prints the OpenAPI document, without a server: the pages' types are generated from it."""

import json
import sys
from typing import cast

from hullwatch.services.services import Services
from hullwatch.web.application import create_web
from hullwatch.web.config import WebConfig


def main() -> None:
    """Print the document."""
    # The routes are only described here, never called: they need no services.
    app = create_web(cast("Services", None), WebConfig())
    json.dump(app.openapi(), sys.stdout, indent=1, sort_keys=True)


main()
