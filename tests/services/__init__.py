"""What is true of the services; `building` and `account_house` build them over fakes."""
