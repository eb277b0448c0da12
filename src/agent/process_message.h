/* SPDX-License-Identifier: Apache-2.0 */
/* The request messages of process.Process as plain structs, whatever encoding they came in; and the
 * text of its events. Parsing checks everything that does not need the process. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/config.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* What to run, as asked. Owned. */
struct process_config {
    char **argv; /* cmd, then args; NULL-terminated */
    size_t argc;
    struct agent_env *envs;
    size_t env_count;
    char *cwd; /* NULL: not given */
    char *tag; /* NULL: not given */
};

void process_config_done(struct process_config *config);
/* Bytes of memory that it takes, about. */
size_t process_config_size(const struct process_config *config);

struct process_size {
    bool given;
    uint16_t cols, rows;
};

struct process_start_request {
    struct process_config config;
    bool stdin_open;
    bool pty;
    bool keep; /* extension: output that has been delivered is kept for replay, too */
    struct process_size size;
};

int process_start_parse(const json_t *in, struct process_start_request *ret, struct err *err);
void process_start_done(struct process_start_request *request);

/* Which process: by tag if tag.p is set. Views into the message. */
struct process_selector {
    uint32_t pid;
    struct str tag;
};

/* The member "process" of a message. */
int process_selector_parse(const json_t *in, struct process_selector *ret, struct err *err);

/* The member "input" of a message: bytes for standard input or the terminal. bytes is owned. */
struct process_input_bytes {
    bool pty;
    char *bytes;
    size_t len;
};

int process_input_parse(const json_t *in, struct process_input_bytes *ret, struct err *err);
/* The member "pty" of an update. */
int process_size_parse(const json_t *in, struct process_size *ret, struct err *err);
/* The member "signal": SIGTERM or SIGKILL, else ERR_UNIMPLEMENTED; and the extension "group". */
int process_signal_parse(const json_t *in, int *ret_signal, bool *ret_group, struct err *err);
/* The extension "fromOffset" of Connect. Leaves *ret alone when there is none. */
int process_offset_parse(const json_t *in, int64_t *ret, struct err *err);

/* One ProcessInfo of a list. Owned by the caller. */
json_t *process_info_json(const struct process_config *config, uint32_t pid);
