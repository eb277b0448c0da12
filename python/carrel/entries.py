# SPDX-License-Identifier: Apache-2.0
"""Files and directories of a sandbox as values, and what happens to them."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any


class FileType(str, enum.Enum):
    """What an entry is. A link has the type of what it points to."""

    FILE = "file"
    DIR = "dir"
    SYMLINK = "symlink"

    __str__ = str.__str__


class FilesystemEventType(str, enum.Enum):
    """What happened. Equal to its text: `event.type == "create"`."""

    CHMOD = "chmod"
    CREATE = "create"
    REMOVE = "remove"
    RENAME = "rename"
    WRITE = "write"

    __str__ = str.__str__


TYPES = {
    "FILE_TYPE_FILE": FileType.FILE,
    "FILE_TYPE_DIRECTORY": FileType.DIR,
    "FILE_TYPE_SYMLINK": FileType.SYMLINK,
}
EVENTS = {f"EVENT_TYPE_{kind.name}": kind for kind in FilesystemEventType}


@dataclass
class WriteInfo:
    """A file that was written. `metadata` is what was stored with it, or None."""

    name: str
    type: FileType | None
    path: str
    metadata: dict[str, str] | None = field(default=None, kw_only=True)

    @property
    def is_dir(self) -> bool:
        return self.type == FileType.DIR

    @classmethod
    def from_dict(cls, reply: dict[str, Any]) -> WriteInfo:
        kind = reply.get("type")
        return WriteInfo(
            reply["name"],
            FileType(kind) if kind in FileType._value2member_map_ else None,
            reply["path"],
            metadata=reply.get("metadata"),
        )


@dataclass
class EntryInfo(WriteInfo):
    """A file or directory. `size` is in bytes, `mode` the permission bits; `symlink_target` is set
    for links only, whose `type` is that of the target."""

    size: int
    mode: int
    permissions: str
    owner: str
    group: str
    modified_time: datetime
    symlink_target: str | None = None

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> EntryInfo:
        return EntryInfo(
            entry.get("name", ""),
            TYPES.get(entry.get("type", "")),
            entry.get("path", ""),
            int(entry.get("size", 0)),
            entry.get("mode", 0),
            entry.get("permissions", ""),
            entry.get("owner", ""),
            entry.get("group", ""),
            parse_time(entry.get("modifiedTime", "")),
            entry.get("symlinkTarget"),
            metadata=entry.get("metadata"),
        )


@dataclass
class FilesystemEvent:
    """`type` happened to `name`, which is relative to the watched directory. `entry` says more when
    it was asked for and there still is such a file."""

    name: str
    type: FilesystemEventType
    entry: EntryInfo | None = None

    @classmethod
    def from_dict(cls, event: dict[str, Any]) -> FilesystemEvent | None:
        kind = EVENTS.get(event.get("type", ""))
        if kind is None:  # of a newer server
            return None
        entry = event.get("entry")
        return cls(event.get("name", ""), kind, EntryInfo.from_dict(entry) if entry else None)


FRACTION = re.compile(r"\.(\d{1,6})\d*")


def parse_time(text: str) -> datetime:
    """A time of RFC 3339, whose fraction may have nine digits, which Python does not take."""
    if not text:
        return datetime.fromtimestamp(0, timezone.utc)
    text = FRACTION.sub(lambda m: "." + m.group(1).ljust(6, "0"), text, count=1)
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
