/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request and its answer, over libcurl. */
#include "client/exchange.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    IDLE_MAX = 16, /* lines kept for later */
    CONNECT_MS = 10000,
    POLL_MS = 1000, /* libcurl has timers of its own, too */
    PIECE = 512 << 10,
    REFUSAL_MAX = 64 << 10, /* of a bad answer's body */
};

/* A transfer of libcurl with the connections it may use again. */
struct line {
    CURLM *multi;
    CURL *easy;
    struct line *next;
};

static struct line *take_line(struct carrel_client *client)
{
    pthread_mutex_lock(&client->lock);
    struct line *line = client->idle;
    if (line) {
        client->idle = line->next;
        client->idle_count--;
    }
    pthread_mutex_unlock(&client->lock);
    if (line)
        return line;
    line = xcalloc(1, sizeof *line);
    line->multi = curl_multi_init();
    line->easy = curl_easy_init();
    if (!line->multi || !line->easy)
        abort(); /* out of memory */
    return line;
}

static void free_line(struct line *line)
{
    curl_easy_cleanup(line->easy);
    curl_multi_cleanup(line->multi);
    free(line);
}

static void give_line_back(struct carrel_client *client, struct line *line)
{
    curl_easy_reset(line->easy);
    pthread_mutex_lock(&client->lock);
    bool keep = client->idle_count < IDLE_MAX;
    if (keep) {
        line->next = client->idle;
        client->idle = line;
        client->idle_count++;
    }
    pthread_mutex_unlock(&client->lock);
    if (!keep)
        free_line(line);
}

void exchange_close_lines(struct carrel_client *client)
{
    while (client->idle) {
        struct line *line = client->idle;
        client->idle = line->next;
        free_line(line);
    }
}

/* ---- what libcurl calls ---- */

static size_t on_answer(char *p, size_t size, size_t count, void *arg)
{
    struct exchange *x = arg;
    size_t n = size * count;
    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &x->status);
    x->last_ns = clock_mono_ns();
    if (x->status >= 300) {
        if (buf_len(&x->in) < REFUSAL_MAX)
            buf_append(&x->in, p, n);
        return n;
    }
    if (x->sink) {
        x->refused = x->sink(x->arg, p, n) != 0;
        return x->refused ? 0 : n;
    }
    if (x->hold && buf_len(&x->in) >= x->hold) {
        x->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    return buf_append(&x->in, p, n) == 0 ? n : 0;
}

static size_t on_head(char *p, size_t size, size_t count, void *arg)
{
    struct exchange *x = arg;
    x->last_ns = clock_mono_ns();
    if (size * count == 2) /* the empty line: an answer without a body shows its status, too */
        curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &x->status);
    return size * count;
}

static size_t on_body_wanted(char *p, size_t size, size_t count, void *arg)
{
    struct exchange *x = arg;
    ssize_t n = x->source(x->arg, p, size * count);
    x->last_ns = clock_mono_ns();
    x->refused = n < 0;
    return n < 0 ? CURL_READFUNC_ABORT : (size_t)n;
}

/* ---- building the request ---- */

void exchange_begin(struct exchange *x, struct carrel_client *client,
                    const struct carrel_call *call)
{
    *x = (struct exchange){.client = client};
    int64_t timeout_ms = call && call->timeout_ms ? call->timeout_ms : client->timeout_ms;
    x->silence_ns = timeout_ms > 0 ? timeout_ms * CLOCK_MS : 0;
    x->cancel = call ? call->cancel : NULL;
    x->line = take_line(client);
    x->easy = x->line->easy;
    buf_init(&x->in, CLIENT_ANSWER_MAX);
    curl_easy_setopt(x->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(x->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(x->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(x->easy, CURLOPT_NOPROXY, client->no_proxy);
    if (client->authorities)
        curl_easy_setopt(x->easy, CURLOPT_CAINFO, client->authorities);
    curl_easy_setopt(x->easy, CURLOPT_USERAGENT, client->user_agent);
    curl_easy_setopt(x->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(x->easy, CURLOPT_BUFFERSIZE, (long)PIECE);
    curl_easy_setopt(x->easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)PIECE);
    curl_easy_setopt(x->easy, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(x->easy, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(x->easy, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(x->easy, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(x->easy, CURLOPT_ERRORBUFFER, x->why);
    exchange_header(x, "Expect:"); /* a wait for nothing */
}

void exchange_header(struct exchange *x, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    x->headers = curl_slist_append(x->headers, text);
}

void exchange_to_control(struct exchange *x)
{
    exchange_header(x, "X-API-KEY: %s", x->client->key);
}

void exchange_to_sandbox(struct exchange *x, const struct carrel_sandbox *sandbox, unsigned port)
{
    x->sandbox = true;
    exchange_header(x, "E2b-Sandbox-Id: %s", sandbox->id);
    exchange_header(x, "E2b-Sandbox-Port: %u", port);
    if (sandbox->token)
        exchange_header(x, "X-Access-Token: %s", sandbox->token);
    if (sandbox->traffic_token)
        exchange_header(x, "E2B-Traffic-Access-Token: %s", sandbox->traffic_token);
}

void exchange_body(struct exchange *x, const char *type, const void *p, size_t n)
{
    exchange_header(x, "Content-Type: %s", type);
    curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, p);
    curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n);
}

void exchange_source(struct exchange *x, const char *type, carrel_source_fn *source, void *arg,
                     int64_t size)
{
    x->source = source;
    x->arg = arg;
    exchange_header(x, "Content-Type: %s", type);
    curl_easy_setopt(x->easy, CURLOPT_POST, 1L);
    curl_easy_setopt(x->easy, CURLOPT_READFUNCTION, on_body_wanted);
    curl_easy_setopt(x->easy, CURLOPT_READDATA, x);
    curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
    if (size < 0)
        exchange_header(x, "Transfer-Encoding: chunked");
}

int exchange_start(struct exchange *x, const char *method, const char *path,
                   struct carrel_error *err)
{
    const char *base = x->sandbox ? x->client->sandbox_url : x->client->api_url;
    _cleanup_free_ char *url = xasprintf("%s%s", base, path);
    curl_easy_setopt(x->easy, CURLOPT_URL, url);
    curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->headers);
    x->last_ns = clock_mono_ns();
    CURLMcode rc = curl_multi_add_handle(x->line->multi, x->easy);
    return rc == CURLM_OK ? 0 : error_set(err, CARREL_LOCAL, "%s", curl_multi_strerror(rc));
}

/* ---- moving it ---- */

static void look_for_end(struct exchange *x)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(x->line->multi, &left)) != NULL)
        if (message->msg == CURLMSG_DONE) {
            x->over = true;
            x->result = message->data.result;
            curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &x->status);
        }
}

int exchange_step(struct exchange *x, int64_t deadline_ns, struct carrel_error *err)
{
    int running;
    if (x->cancel && carrel_cancelled(x->cancel))
        return error_set(err, CARREL_CANCELED, "cancelled");
    size_t before = buf_len(&x->in);
    CURLMcode rc = curl_multi_perform(x->line->multi, &running);
    if (rc != CURLM_OK)
        return error_set(err, CARREL_LOCAL, "%s", curl_multi_strerror(rc));
    look_for_end(x);
    if (x->over || buf_len(&x->in) > before || x->paused)
        return 0;

    int64_t now = clock_mono_ns(), wait_ns = POLL_MS * CLOCK_MS;
    if (deadline_ns && now >= deadline_ns)
        return error_set(err, CARREL_TIMEOUT, "time is up");
    if (x->silence_ns && now - x->last_ns >= x->silence_ns)
        return error_set(err, CARREL_CUT, "%s has been silent for %lld s",
                         x->sandbox ? "the sandbox" : "the server",
                         (long long)(x->silence_ns / CLOCK_S));
    if (deadline_ns && deadline_ns - now < wait_ns)
        wait_ns = deadline_ns - now;
    if (x->silence_ns && x->last_ns + x->silence_ns - now < wait_ns)
        wait_ns = x->last_ns + x->silence_ns - now;
    struct curl_waitfd more = {.fd = x->cancel ? x->cancel->fd : -1, .events = CURL_WAIT_POLLIN};
    rc = curl_multi_poll(x->line->multi, &more, x->cancel ? 1 : 0,
                         (int)((wait_ns + CLOCK_MS - 1) / CLOCK_MS), NULL);
    return rc == CURLM_OK ? 0 : error_set(err, CARREL_LOCAL, "%s", curl_multi_strerror(rc));
}

void exchange_resume(struct exchange *x)
{
    if (!x->paused)
        return;
    x->paused = false;
    curl_easy_pause(x->easy, CURLPAUSE_CONT);
    look_for_end(x);
}

static int failed(struct exchange *x, struct carrel_error *err)
{
    const char *why = x->why[0] ? x->why : curl_easy_strerror(x->result);
    const char *base = x->sandbox ? x->client->sandbox_url : x->client->api_url;
    if (x->refused)
        return error_set(err, CARREL_CANCELED, "ended by the caller");
    switch ((int)x->result) {
    case CURLE_WRITE_ERROR:
        return error_set(err, CARREL_LIMIT, "the answer is larger than %d bytes",
                         CLIENT_ANSWER_MAX);
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return error_set(err, CARREL_CUT, "%s: the connection broke: %s", base, why);
    default:
        return error_set(err, CARREL_UNREACHABLE, "%s: %s", base, why);
    }
}

int exchange_result(struct exchange *x, struct carrel_error *err)
{
    /* A refusal counts even if the connection broke under a body that nobody wanted any more. */
    if (x->status >= 300) {
        struct str body = buf_str(&x->in);
        return error_http(err, x->status, body.p, body.len, x->sandbox);
    }
    return x->result == CURLE_OK ? 0 : failed(x, err);
}

int exchange_run(struct exchange *x, struct carrel_error *err)
{
    int rc = 0;
    while (!x->over && rc == 0)
        rc = exchange_step(x, 0, err);
    if (rc == -CARREL_CUT) { /* silence: to a call with one answer it is a matter of time */
        if (err)
            err->code = CARREL_TIMEOUT;
        rc = -CARREL_TIMEOUT;
    }
    return rc < 0 ? rc : exchange_result(x, err);
}

void exchange_end(struct exchange *x)
{
    /* Removing one that is not over closes its connection, and so tells the server. */
    curl_multi_remove_handle(x->line->multi, x->easy);
    give_line_back(x->client, x->line);
    curl_slist_free_all(x->headers);
    buf_done(&x->in);
}
