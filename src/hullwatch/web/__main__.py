"""``python -m hullwatch.web`` prints the OpenAPI document, from which the types of the pages are generated."""

import json
import sys
from typing import cast

from hullwatch.services.services import Services
from hullwatch.web.application import create_web
from hullwatch.web.config import WebConfig


def main() -> None:
    """Print the document."""
    # No route is called, so the app needs no services.
    app = create_web(cast("Services", None), WebConfig())
    json.dump(app.openapi(), sys.stdout, indent=1, sort_keys=True)


main()
