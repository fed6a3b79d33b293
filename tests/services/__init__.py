"""The services over fakes; `environment` builds them with `build_services`."""
