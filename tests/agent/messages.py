# SPDX-License-Identifier: Apache-2.0
"""process.Process and filesystem.Filesystem for Google's protobuf, described here once more, by hand
and from protocol.md, so that the agent's own tables have somebody to be compared with."""
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

F = descriptor_pb2.FieldDescriptorProto

PROCESS = """
PTY.Size: cols 1 uint32, rows 2 uint32
PTY: size 1 .PTY.Size
ProcessConfig: cmd 1 string, args 2 repeated string, envs 3 map, cwd 4 optional string
ListRequest:
ProcessInfo: config 1 .ProcessConfig, pid 2 uint32, tag 3 optional string
ListResponse: processes 1 repeated .ProcessInfo
StartRequest: process 1 .ProcessConfig, pty 2 optional .PTY, tag 3 optional string, stdin 4 optional bool, keep_output 1000 bool
UpdateRequest: process 1 .ProcessSelector, pty 2 optional .PTY
UpdateResponse:
ProcessEvent.StartEvent: pid 1 uint32
ProcessEvent.DataEvent: stdout 1 one bytes, stderr 2 one bytes, pty 3 one bytes, offset 1000 uint64, missed 1001 uint64
ProcessEvent.EndEvent: exit_code 1 sint32, exited 2 bool, status 3 string, error 4 optional string
ProcessEvent.KeepAlive:
ProcessEvent: start 1 one .ProcessEvent.StartEvent, data 2 one .ProcessEvent.DataEvent, end 3 one .ProcessEvent.EndEvent, keepalive 4 one .ProcessEvent.KeepAlive
StartResponse: event 1 .ProcessEvent
ConnectResponse: event 1 .ProcessEvent
SendInputRequest: process 1 .ProcessSelector, input 2 .ProcessInput
SendInputResponse:
ProcessInput: stdin 1 one bytes, pty 2 one bytes
StreamInputRequest.StartEvent: process 1 .ProcessSelector
StreamInputRequest.DataEvent: input 2 .ProcessInput
StreamInputRequest.KeepAlive:
StreamInputRequest: start 1 one .StreamInputRequest.StartEvent, data 2 one .StreamInputRequest.DataEvent, keepalive 3 one .StreamInputRequest.KeepAlive
StreamInputResponse:
SendSignalRequest: process 1 .ProcessSelector, signal 2 int32, group 1000 bool
SendSignalResponse:
CloseStdinRequest: process 1 .ProcessSelector
CloseStdinResponse:
ConnectRequest: process 1 .ProcessSelector, from_offset 1000 optional uint64
ProcessSelector: pid 1 one uint32, tag 2 one string
"""

FILESYSTEM = """
Timestamp: seconds 1 int64, nanos 2 int32
EntryInfo: name 1 string, type 2 int32, path 3 string, size 4 int64, mode 5 uint32, permissions 6 string, owner 7 string, group 8 string, modified_time 9 .Timestamp, symlink_target 10 optional string, metadata 11 map, is_symlink 12 bool
StatRequest: path 1 string
StatResponse: entry 1 .EntryInfo
MakeDirRequest: path 1 string
MakeDirResponse: entry 1 .EntryInfo
MoveRequest: source 1 string, destination 2 string
MoveResponse: entry 1 .EntryInfo
RemoveRequest: path 1 string
RemoveResponse:
ListDirRequest: path 1 string, depth 2 uint32
ListDirResponse: entries 1 repeated .EntryInfo
FilesystemEvent: name 1 string, type 2 int32, entry 3 optional .EntryInfo
WatchDirRequest: path 1 string, recursive 2 bool, include_entry 3 bool, allow_network_mounts 4 bool
WatchDirResponse.StartEvent:
WatchDirResponse.KeepAlive:
WatchDirResponse: start 1 one .WatchDirResponse.StartEvent, filesystem 2 one .FilesystemEvent, keepalive 3 one .WatchDirResponse.KeepAlive
CreateWatcherRequest: path 1 string, recursive 2 bool, include_entry 3 bool, allow_network_mounts 4 bool
CreateWatcherResponse: watcher_id 1 string
GetWatcherEventsRequest: watcher_id 1 string
GetWatcherEventsResponse: events 1 repeated .FilesystemEvent
RemoveWatcherRequest: watcher_id 1 string
RemoveWatcherResponse:
"""

SCALARS = {"uint32": F.TYPE_UINT32, "int32": F.TYPE_INT32, "sint32": F.TYPE_SINT32, "bool": F.TYPE_BOOL,
           "int64": F.TYPE_INT64, "uint64": F.TYPE_UINT64, "string": F.TYPE_STRING, "bytes": F.TYPE_BYTES}


def add_field(message, package, text):
    name, number, *words = text.split()
    kind = words[-1]
    field = message.field.add(name=name, number=int(number), label=F.LABEL_OPTIONAL)
    if "repeated" in words or kind == "map":
        field.label = F.LABEL_REPEATED
    if kind in SCALARS:
        field.type = SCALARS[kind]
    elif kind == "map":
        entry = message.nested_type.add(name=name.capitalize() + "Entry")
        entry.options.map_entry = True
        for i, part in enumerate(("key", "value")):
            entry.field.add(name=part, number=i + 1, type=F.TYPE_STRING, label=F.LABEL_OPTIONAL)
        field.type = F.TYPE_MESSAGE
        field.type_name = f".{package}.{message.name}.{entry.name}"
    else:
        field.type = F.TYPE_MESSAGE
        field.type_name = f".{package}." + kind[1:].replace(".", "_")
    return field, words


def describe(package, text):
    file = descriptor_pb2.FileDescriptorProto(name=package + ".proto", package=package,
                                              syntax="proto3")
    for line in text.strip().splitlines():
        name, _, fields = line.partition(":")
        message = file.message_type.add(name=name.replace(".", "_"))
        optional = []
        for part in filter(None, (p.strip() for p in fields.split(","))):
            field, words = add_field(message, package, part)
            if "one" in words:
                if not message.oneof_decl:
                    message.oneof_decl.add(name="one")
                field.oneof_index = 0
            if "optional" in words:
                optional.append(field)
        for field in optional:
            field.proto3_optional = True
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name="_" + field.name)
    return file


def message_class(descriptor):
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory().GetPrototype(descriptor)


class Messages:
    """Message classes by name; dots of nested names are underscores."""

    def __init__(self, package, text):
        pool = descriptor_pool.DescriptorPool()
        file = describe(package, text)
        pool.Add(file)
        for message in file.message_type:
            setattr(self, message.name,
                    message_class(pool.FindMessageTypeByName(f"{package}.{message.name}")))


process = Messages("process", PROCESS)
filesystem = Messages("filesystem", FILESYSTEM)
