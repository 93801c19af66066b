"""Texts from Jinja2 templates, which lie in the folder `templates` of a package."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def render(package: str, template: str, /, **values: object) -> str:
    """Return the text of a template with values filled in; HTML templates escape every value.

    Args:
        package: the package that contains the folder `templates`, such as "gcc.report".
        template: the path of the template in that folder, such as "report.html.j2".
        values: the values by their names in the template.

    Raises:
        jinja2.UndefinedError: the template uses a value that is not given.
    """
    return _environment(package).get_template(template).render(values)


@lru_cache
def _environment(package: str) -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=PackageLoader(package),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
