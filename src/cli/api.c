/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl, JSON and the Connect protocol's envelopes. */
#include "cli/api.h"

#include <curl/curl.h>
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

enum {
    ANSWER_MAX = 64 << 20,
    MESSAGE_MAX = 16 << 20,
    AGENT_PORT = 49983,
    HEAD_SIZE = 5, /* of an envelope */
    FLAG_END = 2,
};

struct api {
    CURL *curl;
    struct api_options options;
};

struct exchange {
    struct api *api;
    struct curl_slist *headers;
    struct buf answer;
    long status;
};

struct api *api_new(const struct api_options *options, struct err *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        err_set(err, ERR_INTERNAL, 0, "libcurl does not start");
        return NULL;
    }
    struct api *api = xcalloc(1, sizeof *api);
    api->options = *options;
    api->curl = curl_easy_init();
    if (!api->curl) {
        err_set(err, ERR_INTERNAL, 0, "libcurl does not start");
        free(api);
        return NULL;
    }
    return api;
}

void api_free(struct api *api)
{
    if (!api)
        return;
    curl_easy_cleanup(api->curl);
    free(api);
}

/* ---- one exchange ---- */

static size_t on_answer(char *p, size_t size, size_t count, void *arg)
{
    struct exchange *x = arg;
    return buf_append(&x->answer, p, size * count) == 0 ? size * count : 0;
}

static void add_header(struct exchange *x, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void add_header(struct exchange *x, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    x->headers = curl_slist_append(x->headers, text);
}

static void begin(struct exchange *x, struct api *api, const char *method, const char *path)
{
    *x = (struct exchange){.api = api};
    buf_init(&x->answer, ANSWER_MAX);
    curl_easy_reset(api->curl);
    _cleanup_free_ char *url = xasprintf("%s%s", api->options.url, path);
    curl_easy_setopt(api->curl, CURLOPT_URL, url);
    curl_easy_setopt(api->curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(api->curl, CURLOPT_NOSIGNAL, 1L);
    /* A server on this machine is never behind a proxy. */
    curl_easy_setopt(api->curl, CURLOPT_NOPROXY, "127.0.0.1,localhost,::1");
    curl_easy_setopt(api->curl, CURLOPT_TIMEOUT, (long)api->options.timeout_s);
    curl_easy_setopt(api->curl, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(api->curl, CURLOPT_WRITEDATA, x);
    add_header(x, "Expect:");
}

static void to_control(struct exchange *x)
{
    add_header(x, "X-API-KEY: %s", x->api->options.key);
}

static void to_agent(struct exchange *x, const struct api_sandbox *sandbox, const char *user)
{
    add_header(x, "E2b-Sandbox-Id: %s", sandbox->id);
    add_header(x, "E2b-Sandbox-Port: %d", AGENT_PORT);
    if (sandbox->token[0])
        add_header(x, "X-Access-Token: %s", sandbox->token);
    if (!user)
        return;
    char pair[80], coded[128];
    int n = snprintf(pair, sizeof pair, "%.70s:", user);
    size_t m = base64_encode(pair, (size_t)n, coded);
    add_header(x, "Authorization: Basic %.*s", (int)m, coded);
}

static void set_body(struct exchange *x, const char *type, const void *p, size_t n)
{
    add_header(x, "Content-Type: %s", type);
    curl_easy_setopt(x->api->curl, CURLOPT_POSTFIELDS, p);
    curl_easy_setopt(x->api->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n);
}

static void end(struct exchange *x)
{
    curl_slist_free_all(x->headers);
    buf_done(&x->answer);
}

/* What the server said is wrong, whatever of its kinds of errors it is. */
static int refused(const struct exchange *x, struct err *err)
{
    const struct str text = buf_str(&x->answer);
    json_t *json = json_loadb(text.p, text.len, 0, NULL);
    const char *message = json_string_value(json_object_get(json, "message"));
    enum err_code code = x->status == 401   ? ERR_UNAUTHENTICATED
                         : x->status == 403 ? ERR_DENIED
                         : x->status == 404 ? ERR_NOT_FOUND
                         : x->status == 429 ? ERR_EXHAUSTED
                         : x->status == 503 ? ERR_UNAVAILABLE
                         : x->status < 500  ? ERR_INVALID
                                            : ERR_INTERNAL;
    int rc = err_set(err, code, 0, "HTTP %ld: %.200s", x->status, message ? message : "no message");
    json_decref(json);
    return rc;
}

static int perform(struct exchange *x, struct err *err)
{
    char why[CURL_ERROR_SIZE] = "";
    curl_easy_setopt(x->api->curl, CURLOPT_HTTPHEADER, x->headers);
    curl_easy_setopt(x->api->curl, CURLOPT_ERRORBUFFER, why);
    CURLcode rc = curl_easy_perform(x->api->curl);
    curl_easy_setopt(x->api->curl, CURLOPT_ERRORBUFFER, NULL);
    curl_easy_getinfo(x->api->curl, CURLINFO_RESPONSE_CODE, &x->status);
    if (rc == CURLE_OPERATION_TIMEDOUT)
        return err_set(err, ERR_TIMEOUT, 0, "%s: %s", x->api->options.url, why);
    if (rc != CURLE_OK)
        return err_set(err, ERR_UNAVAILABLE, 0, "%s: %s", x->api->options.url,
                       why[0] ? why : curl_easy_strerror(rc));
    return x->status >= 400 ? refused(x, err) : 0;
}

/* ---- requests ---- */

static int take_json(struct exchange *x, json_t **ret, struct err *err)
{
    const struct str text = buf_str(&x->answer);
    json_error_t why;
    if (!ret)
        return 0;
    *ret = NULL;
    if (text.len == 0)
        return 0;
    *ret = json_loadb(text.p, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    return *ret ? 0 : err_set(err, ERR_INTERNAL, 0, "the answer is no JSON: %s", why.text);
}

int api_request(struct api *api, const char *method, const char *path, json_t *body, json_t **ret,
                struct err *err)
{
    struct exchange x;
    _cleanup_free_ char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    begin(&x, api, method, path);
    to_control(&x);
    if (text)
        set_body(&x, "application/json", text, strlen(text));
    int rc = perform(&x, err);
    if (rc == 0)
        rc = take_json(&x, ret, err);
    end(&x);
    return rc;
}

int api_create(struct api *api, const char *template_name, unsigned timeout_s,
               struct api_sandbox *ret, struct err *err)
{
    json_t *answer = NULL;
    json_t *body = json_pack("{s:s,s:i,s:b}", "templateID", template_name, "timeout",
                             (int)timeout_s, "secure", 1);
    int rc = api_request(api, "POST", "/sandboxes", body, &answer, err);
    json_decref(body);
    if (rc < 0)
        return err_wrap(err, "create a sandbox");
    const char *id = json_string_value(json_object_get(answer, "sandboxID"));
    const char *token = json_string_value(json_object_get(answer, "envdAccessToken"));
    if (!id || strlen(id) >= sizeof ret->id || strlen(token ? token : "") >= sizeof ret->token) {
        rc = err_set(err, ERR_INTERNAL, 0, "create a sandbox: the answer has no usable id");
    } else {
        snprintf(ret->id, sizeof ret->id, "%s", id);
        snprintf(ret->token, sizeof ret->token, "%s", token ? token : "");
    }
    json_decref(answer);
    return rc;
}

int api_kill(struct api *api, const struct api_sandbox *sandbox, struct err *err)
{
    char path[96];
    snprintf(path, sizeof path, "/sandboxes/%s", sandbox->id);
    return api_request(api, "DELETE", path, NULL, NULL, err);
}

int api_upload(struct api *api, const struct api_sandbox *sandbox, const char *user,
               const char *path, const void *p, size_t n, struct err *err)
{
    struct exchange x;
    char *path_text = curl_easy_escape(api->curl, path, 0);
    char *user_text = curl_easy_escape(api->curl, user, 0);
    _cleanup_free_ char *target = xasprintf("/files?path=%s&username=%s",
                                            path_text ? path_text : "", user_text ? user_text : "");
    curl_free(path_text);
    curl_free(user_text);
    begin(&x, api, "POST", target);
    to_agent(&x, sandbox, NULL);
    set_body(&x, "application/octet-stream", p, n);
    int rc = perform(&x, err);
    end(&x);
    return rc < 0 ? err_wrap(err, "upload") : 0;
}

int api_health(struct api *api, const struct api_sandbox *sandbox, int64_t *ret_ns, struct err *err)
{
    struct exchange x;
    begin(&x, api, "GET", "/health");
    if (sandbox)
        to_agent(&x, sandbox, NULL);
    int64_t start = clock_mono_ns();
    int rc = perform(&x, err);
    *ret_ns = clock_mono_ns() - start;
    end(&x);
    return rc;
}

/* ---- the stream of a process ---- */

struct follow {
    struct exchange x;
    const struct api_process *process;
    struct buf pending; /* bytes of an envelope that is not complete */
    bool left;          /* the caller wants no more */
    bool ended;         /* an end event was there */
    int exit;
    char how[128];
    struct err err; /* of the stream's last envelope */
};

static bool give_output(struct follow *f, json_t *data)
{
    static const char *const names[] = {"stdout", "stderr", "pty"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        json_t *value = json_object_get(data, names[i]);
        size_t n = json_string_length(value);
        if (!value || n == 0 || !f->process->output)
            continue;
        _cleanup_free_ char *bytes = xmalloc(n + 3);
        ssize_t m = base64_decode((struct str){json_string_value(value), n}, bytes);
        if (m < 0)
            continue;
        if (!f->process->output(f->process->arg, i == 1, bytes, (size_t)m))
            return false;
    }
    return true;
}

static bool give_message(struct follow *f, const char *p, size_t n)
{
    json_t *message = json_loadb(p, n, 0, NULL);
    json_t *event = json_object_get(message, "event");
    json_t *over = json_object_get(event, "end");
    if (over) {
        const char *status = json_string_value(json_object_get(over, "status"));
        f->ended = true;
        f->exit = (int)json_integer_value(json_object_get(over, "exitCode"));
        snprintf(f->how, sizeof f->how, "%s", status ? status : "");
    }
    bool more = give_output(f, json_object_get(event, "data"));
    json_decref(message);
    return more;
}

static void give_end(struct follow *f, const char *p, size_t n)
{
    json_t *message = json_loadb(p, n, 0, NULL);
    json_t *error = json_object_get(message, "error");
    const char *text = json_string_value(json_object_get(error, "message"));
    if (error)
        err_set(&f->err, ERR_UNKNOWN, 0, "%.200s", text ? text : "the call failed");
    json_decref(message);
}

static size_t on_stream(char *p, size_t size, size_t count, void *arg)
{
    struct follow *f = arg;
    long status = 0;
    curl_easy_getinfo(f->x.api->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return on_answer(p, size, count, &f->x);
    if (buf_append(&f->pending, p, size * count) < 0)
        return 0;
    for (;;) {
        uint32_t length;
        if (buf_len(&f->pending) < HEAD_SIZE)
            return size * count;
        const char *head = buf_ptr(&f->pending);
        memcpy(&length, head + 1, sizeof length);
        length = be32toh(length);
        if (length > MESSAGE_MAX)
            return 0;
        if (buf_len(&f->pending) < HEAD_SIZE + (size_t)length)
            return size * count;
        if (head[0] & FLAG_END)
            give_end(f, head + HEAD_SIZE, length);
        else if (!give_message(f, head + HEAD_SIZE, length))
            f->left = true;
        if (f->left)
            return 0;
        buf_consume(&f->pending, HEAD_SIZE + (size_t)length);
    }
}

static int follow(struct follow *f, struct err *err)
{
    curl_easy_setopt(f->x.api->curl, CURLOPT_WRITEFUNCTION, on_stream);
    curl_easy_setopt(f->x.api->curl, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(f->x.api->curl, CURLOPT_TIMEOUT, 0L);
    int rc = perform(&f->x, err);
    if (f->left)
        return 0;
    if (rc < 0)
        return rc;
    if (f->err.code != ERR_OK) {
        if (err)
            *err = f->err;
        return -EIO;
    }
    return f->ended ? 0 : err_set(err, ERR_UNAVAILABLE, 0, "the stream ended before the process");
}

static char *start_message(const struct api_process *process, size_t *ret_len)
{
    json_t *args = json_array();
    for (const char *const *arg = process->argv + 1; *arg; arg++)
        json_array_append_new(args, json_string(*arg));
    json_t *body = json_pack("{s:{s:s,s:o}}", "process", "cmd", process->argv[0], "args", args);
    if (process->terminal)
        json_object_set_new(body, "pty",
                            json_pack("{s:{s:i,s:i}}", "size", "cols", 80, "rows", 24));
    _cleanup_free_ char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    size_t n = strlen(text);
    uint32_t length = htobe32((uint32_t)n);
    char *message = xmalloc(HEAD_SIZE + n);
    message[0] = 0;
    memcpy(message + 1, &length, sizeof length);
    memcpy(message + HEAD_SIZE, text, n);
    *ret_len = HEAD_SIZE + n;
    return message;
}

int api_run(struct api *api, const struct api_sandbox *sandbox, const struct api_process *process,
            int *ret_exit, char text[128], struct err *err)
{
    struct follow f = {.process = process, .exit = -1};
    size_t n;
    _cleanup_free_ char *message = start_message(process, &n);
    buf_init(&f.pending, MESSAGE_MAX + HEAD_SIZE + (1 << 20));
    begin(&f.x, api, "POST", "/process.Process/Start");
    to_agent(&f.x, sandbox, process->user);
    add_header(&f.x, "Connect-Protocol-Version: 1");
    set_body(&f.x, "application/connect+json", message, n);
    int rc = follow(&f, err);
    end(&f.x);
    buf_done(&f.pending);
    if (rc < 0)
        return err_wrap(err, process->argv[0]);
    *ret_exit = f.exit;
    if (text)
        memcpy(text, f.how, sizeof f.how);
    return 0;
}
