"""The message that is sent to a webhook when a study ends."""
