/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of process.Process and filesystem.Filesystem. Numbers from 1000 on are extensions
 * (docs/wire.md). */
#include "rpc/proto-internal.h"

#define END \
    {       \
        0   \
    }
#define MESSAGE(name, ...)                                                \
    static const struct proto_field name##_fields[] = {__VA_ARGS__, END}; \
    static const struct proto_message name = {name##_fields}
#define TEXT(n, f)                                \
    {                                             \
        .number = n, .name = f, .kind = KIND_TEXT \
    }
#define BOOL(n, f)                                \
    {                                             \
        .number = n, .name = f, .kind = KIND_BOOL \
    }
#define U32(n, f)                                \
    {                                            \
        .number = n, .name = f, .kind = KIND_U32 \
    }
#define I64(n, f)                                \
    {                                            \
        .number = n, .name = f, .kind = KIND_I64 \
    }
#define MSG(n, f, m)                                                  \
    {                                                                 \
        .number = n, .name = f, .kind = KIND_MESSAGE, .message = &(m) \
    }
#define MANY(n, f, m)                                                                   \
    {                                                                                   \
        .number = n, .name = f, .kind = KIND_MESSAGE, .repeated = true, .message = &(m) \
    }
#define MAP(n, f)                                     \
    {                                                 \
        .number = n, .name = f, .kind = KIND_TEXT_MAP \
    }
#define ENUM(n, f, v)                                          \
    {                                                          \
        .number = n, .name = f, .kind = KIND_ENUM, .values = v \
    }
#define ONE_MSG(n, f, m)                                                          \
    {                                                                             \
        .number = n, .name = f, .kind = KIND_MESSAGE, .oneof = 1, .message = &(m) \
    }
#define ONE_BYTES(n, f)                                        \
    {                                                          \
        .number = n, .name = f, .kind = KIND_BYTES, .oneof = 1 \
    }

static const struct proto_field no_fields[] = {END};
static const struct proto_message empty = {no_fields};

/* ---- process ---- */

static const struct jsonx_enum signal_values[] = {
    {"SIGNAL_UNSPECIFIED", 0}, {"SIGNAL_SIGKILL", 9}, {"SIGNAL_SIGTERM", 15}, {NULL, 0}};

MESSAGE(pty_size, U32(1, "cols"), U32(2, "rows"));
MESSAGE(pty, MSG(1, "size", pty_size));
MESSAGE(config, TEXT(1, "cmd"), {.number = 2, .name = "args", .kind = KIND_TEXT, .repeated = true},
        MAP(3, "envs"), TEXT(4, "cwd"));
MESSAGE(selector, {.number = 1, .name = "pid", .kind = KIND_U32, .oneof = 1},
        {.number = 2, .name = "tag", .kind = KIND_TEXT, .oneof = 1});
MESSAGE(process_info, MSG(1, "config", config), U32(2, "pid"), TEXT(3, "tag"));
MESSAGE(list_response, MANY(1, "processes", process_info));
MESSAGE(start_request, MSG(1, "process", config), MSG(2, "pty", pty), TEXT(3, "tag"),
        BOOL(4, "stdin"), BOOL(1000, "keepOutput"));
MESSAGE(connect_request, MSG(1, "process", selector), I64(1000, "fromOffset"));
MESSAGE(process_only, MSG(1, "process", selector));
MESSAGE(start_event, U32(1, "pid"));
MESSAGE(data_event, ONE_BYTES(1, "stdout"), ONE_BYTES(2, "stderr"), ONE_BYTES(3, "pty"),
        I64(1000, "offset"), I64(1001, "missed"));
MESSAGE(end_event, {.number = 1, .name = "exitCode", .kind = KIND_S32}, BOOL(2, "exited"),
        TEXT(3, "status"), TEXT(4, "error"));
MESSAGE(process_event, ONE_MSG(1, "start", start_event), ONE_MSG(2, "data", data_event),
        ONE_MSG(3, "end", end_event), ONE_MSG(4, "keepalive", empty));
MESSAGE(event_response, MSG(1, "event", process_event));
MESSAGE(update_request, MSG(1, "process", selector), MSG(2, "pty", pty));
MESSAGE(process_input, ONE_BYTES(1, "stdin"), ONE_BYTES(2, "pty"));
MESSAGE(send_input_request, MSG(1, "process", selector), MSG(2, "input", process_input));
MESSAGE(stream_data, MSG(2, "input", process_input));
MESSAGE(stream_input_request, ONE_MSG(1, "start", process_only), ONE_MSG(2, "data", stream_data),
        ONE_MSG(3, "keepalive", empty));
MESSAGE(send_signal_request, MSG(1, "process", selector), ENUM(2, "signal", signal_values),
        BOOL(1000, "group"));

/* ---- filesystem ---- */

static const struct jsonx_enum file_types[] = {{"FILE_TYPE_UNSPECIFIED", 0},
                                               {"FILE_TYPE_FILE", 1},
                                               {"FILE_TYPE_DIRECTORY", 2},
                                               {"FILE_TYPE_SYMLINK", 3},
                                               {NULL, 0}};
static const struct jsonx_enum event_types[] = {{"EVENT_TYPE_UNSPECIFIED", 0},
                                                {"EVENT_TYPE_CREATE", 1},
                                                {"EVENT_TYPE_WRITE", 2},
                                                {"EVENT_TYPE_REMOVE", 3},
                                                {"EVENT_TYPE_RENAME", 4},
                                                {"EVENT_TYPE_CHMOD", 5},
                                                {NULL, 0}};

MESSAGE(path_request, TEXT(1, "path"));
MESSAGE(move_request, TEXT(1, "source"), TEXT(2, "destination"));
MESSAGE(list_dir_request, TEXT(1, "path"), U32(2, "depth"));
MESSAGE(entry, TEXT(1, "name"), ENUM(2, "type", file_types), TEXT(3, "path"), I64(4, "size"),
        U32(5, "mode"), TEXT(6, "permissions"), TEXT(7, "owner"), TEXT(8, "group"),
        {.number = 9, .name = "modifiedTime", .kind = KIND_TIME}, TEXT(10, "symlinkTarget"),
        MAP(11, "metadata"), BOOL(12, "isSymlink"));
MESSAGE(entry_response, MSG(1, "entry", entry));
MESSAGE(entries_response, MANY(1, "entries", entry));
MESSAGE(watch_request, TEXT(1, "path"), BOOL(2, "recursive"), BOOL(3, "includeEntry"),
        BOOL(4, "allowNetworkMounts"), BOOL(1000, "waitForPath"));
MESSAGE(file_event, TEXT(1, "name"), ENUM(2, "type", event_types), MSG(3, "entry", entry));
static const struct jsonx_enum rescan_reasons[] = {{"RESCAN_REASON_UNSPECIFIED", 0},
                                                   {"RESCAN_REASON_OVERFLOW", 1},
                                                   {"RESCAN_REASON_WATCH_LIMIT", 2},
                                                   {NULL, 0}};
MESSAGE(rescan, ENUM(1, "reason", rescan_reasons));
MESSAGE(watch_response, ONE_MSG(1, "start", empty), ONE_MSG(2, "filesystem", file_event),
        ONE_MSG(3, "keepalive", empty), ONE_MSG(1000, "rescan", rescan));
MESSAGE(watcher, TEXT(1, "watcherId"));
MESSAGE(events_response, MANY(1, "events", file_event), U32(1000, "rescans"));

const struct proto_method proto_methods[] = {
    {"/process.Process/List", &empty, &list_response},
    {"/process.Process/Start", &start_request, &event_response},
    {"/process.Process/Connect", &connect_request, &event_response},
    {"/process.Process/Update", &update_request, &empty},
    {"/process.Process/StreamInput", &stream_input_request, &empty},
    {"/process.Process/SendInput", &send_input_request, &empty},
    {"/process.Process/SendSignal", &send_signal_request, &empty},
    {"/process.Process/CloseStdin", &process_only, &empty},
    {"/filesystem.Filesystem/Stat", &path_request, &entry_response},
    {"/filesystem.Filesystem/MakeDir", &path_request, &entry_response},
    {"/filesystem.Filesystem/Move", &move_request, &entry_response},
    {"/filesystem.Filesystem/ListDir", &list_dir_request, &entries_response},
    {"/filesystem.Filesystem/Remove", &path_request, &empty},
    {"/filesystem.Filesystem/WatchDir", &watch_request, &watch_response},
    {"/filesystem.Filesystem/CreateWatcher", &watch_request, &watcher},
    {"/filesystem.Filesystem/GetWatcherEvents", &watcher, &events_response},
    {"/filesystem.Filesystem/RemoveWatcher", &watcher, &empty},
    {NULL, NULL, NULL},
};
