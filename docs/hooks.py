"""The pages of the documentation that are made from the code, as a hook of MkDocs (see mkdocs.yml).

`reference/configuration.md` and `reference/commands.md` exist only while the site is built, so that they
cannot be out of date. Page names in code, such as `docs/method.md`, become links.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reports import commands_page, config_page

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

GENERATED = {
    "reference/configuration.md": config_page.page,
    "reference/commands.md": commands_page.page,
}
PAGE = re.compile(r"(?<!\[)`docs/([a-z_/-]+\.md)`(?!\])")


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add what is made from the code."""
    from mkdocs.structure.files import File

    for path, make in GENERATED.items():
        files.append(File.generated(config, path, content=make()))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Link `docs/PAGE.md` where it is named in code."""
    depth = page.file.src_uri.count("/")
    known = set(files.src_uris)

    def link(found: re.Match[str]) -> str:
        name = found[1]
        return f"[{name.removesuffix('.md')}]({'../' * depth}{name})" if name in known else found[0]

    return PAGE.sub(link, markdown)
