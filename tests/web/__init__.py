"""What is true of the HTTP door; `web_house` builds it over fakes."""
