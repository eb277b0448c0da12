/* SPDX-License-Identifier: Apache-2.0 */
/* One event of a process's stream, read from its JSON. */
#include "client/process_event.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "client/call.h"
#include "client/fields.h"

static const struct {
    const char *name;
    struct str head; /* as carrel's agent writes it */
    enum carrel_stream stream;
} kinds[] = {
    {"stdout", {"{\"event\":{\"data\":{\"stdout\":\"", 28}, CARREL_STDOUT},
    {"stderr", {"{\"event\":{\"data\":{\"stderr\":\"", 28}, CARREL_STDERR},
    {"pty", {"{\"event\":{\"data\":{\"pty\":\"", 25}, CARREL_TERMINAL},
};

static int decode(struct str coded, struct buf *bytes, struct carrel_error *err)
{
    buf_clear(bytes);
    char *to = buf_reserve(bytes, coded.len / 4 * 3 + 3);
    if (!to)
        return error_set(err, CARREL_SERVER, "a piece of output of %zu bytes", coded.len);
    ssize_t n = base64_decode(coded, to);
    if (n < 0)
        return error_set(err, CARREL_SERVER, "output that is no base64");
    buf_added(bytes, (size_t)n);
    return 0;
}

/* `"name":"123"` at the front of *rest, behind a comma. */
static bool take_number(struct str *rest, struct str name, uint64_t *ret)
{
    if (!str_starts(*rest, name))
        return false;
    struct str digits = {rest->p + name.len, rest->len - name.len};
    digits.len = str_find(digits, '"');
    if (str_to_u64(digits, UINT64_MAX, ret) < 0 || digits.len + name.len >= rest->len)
        return false;
    rest->p += name.len + digits.len + 1;
    rest->len -= name.len + digits.len + 1;
    return true;
}

/* The wire names signals as Go does, which is as libc does, but in lower case. */
static int take_signal(const char *status)
{
    const struct str text = str_from(status), head = STR("signal: ");
    for (int i = 1; i < NSIG && str_starts(text, head); i++) {
        const char *name = sigdescr_np(i);
        size_t n = name ? strlen(name) : 0;
        if (n && strncasecmp(status + head.len, name, n) == 0 &&
            (status[head.len + n] == '\0' || status[head.len + n] == ' '))
            return i;
    }
    return 0;
}

static void take_end(const json_t *end, struct carrel_exit *ret)
{
    const char *status = fields_text(end, "status"), *error = fields_text(end, "error");
    ret->code = (int)fields_integer(end, "exitCode");
    ret->signal = take_signal(status);
    snprintf(ret->status, sizeof ret->status, "%s", *error ? error : status);
}

/* The form of carrel's own agent. False: look at it as JSON. */
static bool take_plain(struct str text, struct str *ret_coded, struct process_event *ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (!str_starts(text, kinds[i].head))
            continue;
        struct str coded = {text.p + kinds[i].head.len, text.len - kinds[i].head.len};
        coded.len = str_find(coded, '"');
        struct str rest = {coded.p + coded.len, (size_t)(text.p + text.len - coded.p) - coded.len};
        struct process_event event = {.kind = PROCESS_EVENT_DATA, .stream = kinds[i].stream};
        if (rest.len == 0)
            return false;
        rest.p++;
        rest.len--;
        event.counted = take_number(&rest, STR(",\"offset\":\""), &event.offset);
        if (event.counted)
            take_number(&rest, STR(",\"missed\":\""), &event.missed);
        if (!str_eqz(rest, "}}}") || memchr(coded.p, '\\', coded.len))
            return false;
        *ret = event;
        *ret_coded = coded;
        return true;
    }
    return false;
}

static int take_data(const json_t *data, struct buf *bytes, struct process_event *ret,
                     struct carrel_error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const json_t *value = json_object_get(data, kinds[i].name);
        if (!json_is_string(value))
            continue;
        ret->kind = PROCESS_EVENT_DATA;
        ret->stream = kinds[i].stream;
        ret->counted = json_object_get(data, "offset") != NULL;
        ret->offset = (uint64_t)fields_integer(data, "offset");
        ret->missed = (uint64_t)fields_integer(data, "missed");
        return decode((struct str){json_string_value(value), json_string_length(value)}, bytes,
                      err);
    }
    return 0;
}

int process_event_parse(struct str text, struct buf *bytes, struct process_event *ret,
                        struct carrel_error *err)
{
    struct str coded;
    json_t *message = NULL;
    if (take_plain(text, &coded, ret))
        return decode(coded, bytes, err);
    int rc = call_parse(text, &message, err);
    if (rc < 0)
        return rc;
    const json_t *event = json_object_get(message, "event"), *data = json_object_get(event, "data");
    const json_t *start = json_object_get(event, "start"), *end = json_object_get(event, "end");
    *ret = (struct process_event){0};
    if (data) {
        rc = take_data(data, bytes, ret, err);
    } else if (start) {
        ret->kind = PROCESS_EVENT_START;
        ret->pid = (unsigned)fields_integer(start, "pid");
    } else if (end) {
        ret->kind = PROCESS_EVENT_END;
        take_end(end, &ret->exit);
    }
    json_decref(message);
    return rc;
}
