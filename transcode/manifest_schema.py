"""The JSON Schema of manifests, made of the tables that `transcode.manifest` reads them by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transcode.manifest_fields import TOP

if TYPE_CHECKING:
    from transcode.manifest_value import Schema

__all__ = ["schema"]


def schema() -> Schema:
    """Return the schema of a manifest in YAML or JSON, of draft 2020-12.

    It takes whatever `transcode.manifest.read_manifest` takes, as a loader of YAML gives it types.
    What one field alone does not tell is not in it: that there are a source and an output, that a
    profile exists, that no two outputs meet.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "xtranscode manifest",
        "description": TOP.about,
        **TOP.schema(),
    }
