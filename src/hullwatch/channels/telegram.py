"""Explains common refusals of Telegram's Bot API."""

from collections.abc import Mapping
from typing import Final

EXPLANATIONS: Final[Mapping[str, str]] = {
    "blocked by the user": "The bot is blocked in this chat. Unblock the bot in Telegram.",
    "user is deactivated": "This Telegram account was deleted. Remove the channel.",
    "can't initiate conversation": "The bot may not write first. Open the bot in Telegram and press Start.",
    "chat not found": (
        "Telegram does not know this chat. Open the bot in Telegram and press Start, or check the number of the chat."
    ),
    "peer_id_invalid": "Telegram does not know this chat. Check the number of the chat.",
    "upgraded to a supergroup": (
        "The group became a supergroup and has a new number. Remove the channel and add it with the new number."
    ),
    "was kicked": "The bot was removed from this group. Add the bot to the group again.",
    "group chat was deleted": "This Telegram group was deleted. Remove the channel.",
    "is not a member": "The bot is not a member of this chat. Add the bot to it.",
    "administrator rights": "The bot may not write in this channel. Make the bot an administrator of it.",
    "rights to send": "The bot may not write in this chat. Allow the bot to send messages there.",
    "unauthorized": "Telegram refuses the bot's token. Remove the channel and add it with a new token of @BotFather.",
    "not found": "Telegram refuses the bot's token. Remove the channel and add it with a new token of @BotFather.",
}
"""Part of Telegram's description in lower case → our sentence (core.telegram.org/bots/api and tdlib, read 2026-12)."""


def refusal_in(text: str) -> str | None:
    """Return the key of the explanation that fits a description, or None."""
    lowered = text.lower()
    return next((phrase for phrase in EXPLANATIONS if phrase in lowered), None)
