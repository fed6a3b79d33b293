"""Users, their roles and apps, and the throttling of login attempts."""
