/* SPDX-License-Identifier: Apache-2.0 */
/* The service process.Process: messages in, calls of agent/process.h, answers out. */
#include <errno.h>
#include <sys/stat.h>

#include "agent/env.h"
#include "agent/handlers.h"
#include "agent/process.h"
#include "agent/process_stream.h"
#include "agent/resolve.h"
#include "base/mem.h"
#include "http/server.h"

/* The process named by a message. */
static int find(struct agent *agent, const json_t *in, bool finished_too, struct process **ret,
                struct err *err)
{
    struct process_selector selector;
    int rc = process_selector_parse(in, &selector, err);
    return rc < 0 ? rc : process_find(agent->processes, &selector, finished_too, ret, err);
}

/* ---- unary ---- */

enum { UNREAD_MAX = 64 << 20 };

static void add_info(const struct process *p, void *arg)
{
    json_array_append_new(arg, process_info_json(process_config_of(p), (uint32_t)process_pid(p)));
}

int rpc_process_list(struct agent *agent, const struct rpc_request *request, json_t *in,
                     json_t **ret_out, struct err *err)
{
    /* The answer may be as large as all that was ever asked for, and its client need not read it. */
    if (http_server_queued(agent->server) > UNREAD_MAX)
        return err_set(err, ERR_EXHAUSTED, 0, "too many answers have not been read");
    json_t *list = json_array();
    process_each(agent->processes, add_info, list);
    *ret_out = json_object();
    if (json_array_size(list))
        json_object_set(*ret_out, "processes", list);
    json_decref(list);
    return 0;
}

int rpc_process_update(struct agent *agent, const struct rpc_request *request, json_t *in,
                       json_t **ret_out, struct err *err)
{
    struct process *p;
    struct process_size size = {0};
    int rc = find(agent, in, false, &p, err);
    if (rc >= 0)
        rc = process_size_parse(in, &size, err);
    if (rc < 0 || !size.given)
        return rc;
    return process_resize(p, size.cols, size.rows, err);
}

int rpc_process_send_signal(struct agent *agent, const struct rpc_request *request, json_t *in,
                            json_t **ret_out, struct err *err)
{
    struct process *p;
    int number;
    bool group;
    int rc = process_signal_parse(in, &number, &group, err);
    if (rc >= 0) /* of a group somebody may be left when its first has ended */
        rc = find(agent, in, group, &p, err);
    return rc < 0 ? rc : process_signal(p, number, group, err);
}

int rpc_process_close_stdin(struct agent *agent, const struct rpc_request *request, json_t *in,
                            json_t **ret_out, struct err *err)
{
    struct process *p;
    int rc = find(agent, in, false, &p, err);
    return rc < 0 ? rc : process_close_input(p, err);
}

/* ---- Start and Connect ---- */

/* The directory to start in: as asked, else the sandbox's default, else the user's home. Owned. */
static int start_directory(struct agent *agent, const struct rpc_request *request,
                           const struct process_config *config, char **ret, struct err *err)
{
    _cleanup_free_ char *path = NULL;
    struct stat st;
    int rc = resolve_path(request->user, agent->config.default_workdir,
                          str_from(config->cwd ? config->cwd : ""), &path, err);
    if (rc < 0)
        return rc;
    if (stat(path, &st) < 0)
        return err_set(err, ERR_INVALID, 0, "cwd '%.128s' %s", path,
                       errno == ENOENT || errno == ENOTDIR ? "does not exist"
                                                           : "cannot be looked at");
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, 0, "cwd '%.128s' is not a directory", path);
    *ret = TAKE_PTR(path);
    return 0;
}

/* Who waits for a process to be started. */
struct starter {
    struct http_exchange *exchange; /* NULL: has gone */
    struct rpc_head head;
};

static void starter_closed(struct http_exchange *x, void *arg)
{
    struct starter *s = arg;
    s->exchange = NULL;
}

/* A client that has gone meanwhile leaves the process to itself, as one that goes later does. */
static void on_started(struct process *p, const struct err *err, void *arg)
{
    static const struct http_exchange_events none = {0};
    struct starter *s = arg;
    if (p && s->head.timeout_ns >= 0)
        process_set_deadline(p, s->head.timeout_ns);
    if (s->exchange) {
        const struct rpc_request request = {.exchange = s->exchange, .head = &s->head};
        http_exchange_on(s->exchange, &none, NULL);
        if (p)
            process_stream_open(p, &request, true, -1);
        else
            rpc_respond_error(s->exchange, &s->head, err);
    }
    free(s);
}

void rpc_process_start(struct agent *agent, const struct rpc_request *request, json_t *in)
{
    static const struct http_exchange_events events = {.closed = starter_closed};
    struct process_start_request message;
    char *cwd = NULL;
    struct err err;
    int rc = process_start_parse(in, &message, &err);
    if (rc >= 0 && (rc = start_directory(agent, request, &message.config, &cwd, &err)) < 0)
        process_start_done(&message);
    if (rc < 0) {
        rpc_respond_error(request->exchange, request->head, &err);
        return;
    }
    struct starter *s = xcalloc(1, sizeof *s);
    s->exchange = request->exchange;
    s->head = *request->head;
    http_exchange_on(s->exchange, &events, s);
    char **envs =
        env_build(&agent->config, request->user, message.config.envs, message.config.env_count);
    process_start(agent->processes, &message, request->user, envs, cwd, on_started, s);
}

void rpc_process_connect(struct agent *agent, const struct rpc_request *request, json_t *in)
{
    struct process *p;
    struct err err;
    int64_t from = -1;
    int rc = find(agent, in, true, &p, &err);
    if (rc >= 0)
        rc = process_offset_parse(in, &from, &err);
    if (rc < 0)
        rpc_respond_error(request->exchange, request->head, &err);
    else
        process_stream_open(p, request, false, from);
}
