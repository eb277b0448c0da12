/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: codes, their names, and what answers of the server mean. */
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "client/client-internal.h"

const char *carrel_version(void)
{
    return CARREL_VERSION;
}

const char *carrel_code_name(enum carrel_code code)
{
    static const char *const names[] = {
        "ok",       "invalid", "unauthenticated", "denied",      "not_found", "exists",
        "conflict", "limit",   "no_space",        "unsupported", "gone",      "unreachable",
        "cut",      "timeout", "canceled",        "local",       "server",
    };
    return (size_t)code < ARRAY_SIZE(names) ? names[code] : "unknown";
}

/* What a server or a sandbox says goes to a terminal at last: one line, no control characters, and
 * not cut inside a character. */
static void tidy(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            *p = ' ';
    text[utf8_whole(str_from(text))] = '\0';
    for (size_t n = strlen(text); n > 0 && text[n - 1] == ' '; n--)
        text[n - 1] = '\0';
}

static int fill(struct carrel_error *err, enum carrel_code code, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));
static int fill(struct carrel_error *err, enum carrel_code code, const char *fmt, va_list args)
{
    if (err) {
        char text[sizeof err->message]; /* an argument may be err's own message */
        vsnprintf(text, sizeof text, fmt, args);
        tidy(text);
        *err = (struct carrel_error){.code = code};
        memcpy(err->message, text, sizeof text);
    }
    return -(int)code;
}

int error_set(struct carrel_error *err, enum carrel_code code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int rc = fill(err, code, fmt, args);
    va_end(args);
    return rc;
}

int error_os(struct carrel_error *err, int os, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int rc = fill(err, CARREL_LOCAL, fmt, args);
    va_end(args);
    if (err) {
        size_t n = strlen(err->message);
        snprintf(err->message + n, sizeof err->message - n, ": %s", strerrordesc_np(os));
        err->os_error = os;
    }
    return rc;
}

int error_wrap(struct carrel_error *err, int rc, const char *context)
{
    if (!err || rc >= 0)
        return rc;
    char text[sizeof err->message];
    if (snprintf(text, sizeof text, "%s: %s", context, err->message) < 0)
        return rc;
    tidy(text);
    memcpy(err->message, text, sizeof text);
    return rc;
}

static const struct {
    const char *word;
    enum carrel_code code;
} connect_codes[] = {
    {"canceled", CARREL_CANCELED},
    {"unknown", CARREL_SERVER},
    {"invalid_argument", CARREL_INVALID},
    {"deadline_exceeded", CARREL_TIMEOUT},
    {"not_found", CARREL_NOT_FOUND},
    {"already_exists", CARREL_EXISTS},
    {"permission_denied", CARREL_DENIED},
    {"resource_exhausted", CARREL_LIMIT},
    {"failed_precondition", CARREL_CONFLICT},
    {"out_of_range", CARREL_INVALID},
    {"aborted", CARREL_CONFLICT},
    {"unimplemented", CARREL_UNSUPPORTED},
    {"internal", CARREL_SERVER},
    {"data_loss", CARREL_SERVER},
    {"unavailable", CARREL_UNREACHABLE},
    {"unauthenticated", CARREL_UNAUTHENTICATED},
};

enum carrel_code error_from_connect(const char *word)
{
    for (size_t i = 0; word && i < ARRAY_SIZE(connect_codes); i++)
        if (strcmp(connect_codes[i].word, word) == 0)
            return connect_codes[i].code;
    return CARREL_SERVER;
}

static enum carrel_code from_status(long status, bool sandbox)
{
    switch (status) {
    case 400:
    case 405:
    case 406:
    case 415:
    case 416:
    case 422:
        return CARREL_INVALID;
    case 401:
        return CARREL_UNAUTHENTICATED;
    case 403:
        return CARREL_DENIED;
    case 404:
        return CARREL_NOT_FOUND;
    case 409:
        return CARREL_CONFLICT;
    case 413:
    case 429:
        return CARREL_LIMIT;
    case 499:
        return CARREL_CANCELED;
    case 501:
        return CARREL_UNSUPPORTED;
    case 502:
        return sandbox ? CARREL_GONE : CARREL_UNREACHABLE;
    case 503:
        return CARREL_UNREACHABLE;
    case 504:
        return CARREL_TIMEOUT;
    case 507:
        return CARREL_NO_SPACE;
    default:
        return CARREL_SERVER;
    }
}

int error_http(struct carrel_error *err, long status, const char *body, size_t len, bool sandbox)
{
    json_t *json = json_loadb(body, len, 0, NULL);
    const char *text = json_string_value(json_object_get(json, "message"));
    const char *word = json_string_value(json_object_get(json, "code"));
    enum carrel_code code = from_status(status, sandbox);
    if (word && status != 507)
        code = error_from_connect(word);
    if (text)
        error_set(err, code, "%.220s", text);
    else if (len > 0 && !json)
        error_set(err, code, "%.*s", (int)(len < 200 ? len : 200), body);
    else
        error_set(err, code, "the server answered with status %ld", status);
    if (err)
        err->http_status = (int)status;
    json_decref(json);
    return -(int)code;
}
