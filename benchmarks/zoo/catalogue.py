"""All networks by name."""

from __future__ import annotations

from collections.abc import Sequence

from .network import Network
from .repositories import REPOSITORIES
from .restoration import RESTORATION
from .vision import CI, TIMM, TORCHVISION

ZOO = {network.name: network for network in (*RESTORATION, *TORCHVISION, *TIMM, *REPOSITORIES)}


def chosen(names: Sequence[str]) -> list[Network]:
    """Return networks by name, by source, or `ci` for the subset that needs no further package; all of them for no name.

    Raises:
        KeyError: a name is unknown.
    """
    networks: dict[str, Network] = {}
    for name in names or ["all"]:
        matches = CI if name == "ci" else [key for key, network in ZOO.items() if name in (key, network.origin.partition("@")[0], "all")]
        if not matches:
            raise KeyError(f"{name!r} is neither a network nor a source of the catalogue")
        networks.update((key, ZOO[key]) for key in matches)
    return list(networks.values())
