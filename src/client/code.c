/* SPDX-License-Identifier: Apache-2.0 */
/* Running code in the sandbox's interpreter (protocol.md 6): its answer is one JSON object a line. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "client/call.h"
#include "client/fields.h"

enum { OUTPUT_MAX = 64 << 20, LINE_MAX_BYTES = 256 << 20 };

struct run {
    const struct carrel_code_options *options;
    struct buf line; /* what has come of a line */
    struct buf out, err;
    json_t *results;
    char *text;
    char *error_name, *error_value, *traceback;
    int64_t count;
    bool full;
    bool ended;   /* the interpreter said that it is done */
    bool unusual; /* a line that is no JSON */
};

static int tell(struct run *run, enum carrel_code_event event, const char *text, size_t n)
{
    return run->options->on_event ? run->options->on_event(run->options->arg, event, text, n) : 0;
}

static int take_output(struct run *run, const json_t *line, bool is_err)
{
    const json_t *value = json_object_get(line, "text");
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    size_t n = json_string_length(value);
    if (buf_append(is_err ? &run->err : &run->out, text, n) < 0) {
        run->full = true;
        return -1;
    }
    return tell(run, is_err ? CARREL_CODE_STDERR : CARREL_CODE_STDOUT, text, n);
}

static int take_result(struct run *run, json_t *line)
{
    bool main_result = json_is_true(json_object_get(line, "is_main_result"));
    const char *text = fields_text_or_null(line, "text");
    if (main_result && text) {
        free(run->text);
        run->text = xstrdup(text);
    }
    json_object_del(line, "type");
    json_array_append(run->results, line);
    _cleanup_free_ char *all = json_dumps(line, JSON_COMPACT);
    return tell(run, CARREL_CODE_RESULT, all ? all : "{}", all ? strlen(all) : 2);
}

static int take_error(struct run *run, const json_t *line)
{
    const char *trace = fields_text(line, "traceback");
    free(run->error_name);
    free(run->error_value);
    free(run->traceback);
    run->error_name = xstrdup(fields_text(line, "name"));
    run->error_value = xstrdup(fields_text(line, "value"));
    run->traceback = xstrdup(trace);
    return tell(run, CARREL_CODE_ERROR, trace, strlen(trace));
}

static int take_line(struct run *run, struct str text)
{
    json_t *line = json_loadb(text.p, text.len, 0, NULL);
    const char *type = fields_text(line, "type");
    int rc = 0;
    if (!line)
        run->unusual = true;
    else if (strcmp(type, "stdout") == 0 || strcmp(type, "stderr") == 0)
        rc = take_output(run, line, type[3] == 'e');
    else if (strcmp(type, "result") == 0)
        rc = take_result(run, line);
    else if (strcmp(type, "error") == 0)
        rc = take_error(run, line);
    else if (strcmp(type, "number_of_executions") == 0)
        run->count = fields_integer(line, "execution_count");
    else if (strcmp(type, "end_of_execution") == 0)
        run->ended = true;
    json_decref(line);
    return run->unusual ? -1 : rc;
}

static int on_answer(void *arg, const void *p, size_t n)
{
    struct run *run = arg;
    if (buf_append(&run->line, p, n) < 0) {
        run->full = true;
        return -1;
    }
    for (;;) {
        struct str all = buf_str(&run->line);
        size_t end = str_find(all, '\n');
        if (end == all.len)
            return 0;
        int rc = end > 0 ? take_line(run, (struct str){all.p, end}) : 0;
        if (rc != 0)
            return rc;
        buf_consume(&run->line, end + 1);
    }
}

static json_t *execute_body(const char *code, const struct carrel_code_options *o)
{
    json_t *body = json_pack("{s:s}", "code", code);
    if (body && o->language)
        json_object_set_new(body, "language", json_string(o->language));
    if (body && o->context_id)
        json_object_set_new(body, "context_id", json_string(o->context_id));
    if (body && o->envs)
        json_object_set_new(body, "env_vars", fields_from_pairs(o->envs));
    return body;
}

/* A request to the interpreter. */
static int request(struct carrel_sandbox *sandbox, const char *method, const char *path,
                   json_t *body, struct run *run, const struct carrel_call *call, json_t **ret,
                   struct carrel_error *err)
{
    _cleanup_free_ char *text = NULL;
    if (body && call_text(body, &text, err) < 0)
        return -CARREL_INVALID;
    struct exchange x;
    exchange_begin(&x, sandbox->client, call);
    exchange_to_sandbox(&x, sandbox, CLIENT_CODE_PORT);
    if (text)
        exchange_body(&x, "application/json", text, strlen(text));
    x.sink = run ? on_answer : NULL;
    x.arg = run;
    int rc = exchange_start(&x, method, path, err);
    if (rc == 0)
        rc = exchange_run(&x, err);
    bool shut = x.status == 502 && memmem(buf_str(&x.in).p, buf_len(&x.in), "\"port\"", 6);
    if (rc == 0 && ret)
        rc = call_parse(buf_str(&x.in), ret, err);
    exchange_end(&x);
    if (shut)
        return error_set(err, CARREL_UNSUPPORTED,
                         "the sandbox has no code interpreter: make it from the template "
                         "code-interpreter-v1");
    return rc == -CARREL_CUT ? call_explain_cut(sandbox, rc, err) : rc;
}

static void finish(struct run *run, struct carrel_execution *ret)
{
    char *results = json_dumps(run->results, JSON_COMPACT);
    *ret = (struct carrel_execution){
        .out = xstrndup(buf_str(&run->out).p, buf_len(&run->out)),
        .err = xstrndup(buf_str(&run->err).p, buf_len(&run->err)),
        .results = results ? results : xstrdup("[]"),
        .text = TAKE_PTR(run->text),
        .error_name = TAKE_PTR(run->error_name),
        .error_value = TAKE_PTR(run->error_value),
        .traceback = TAKE_PTR(run->traceback),
        .count = run->count,
    };
}

int carrel_run_code(struct carrel_sandbox *sandbox, const char *code,
                    const struct carrel_code_options *options, const struct carrel_call *call,
                    struct carrel_execution *ret, struct carrel_error *err)
{
    static const struct carrel_code_options defaults;
    struct run run = {.options = options ? options : &defaults, .results = json_array()};
    size_t max = run.options->max_output ? run.options->max_output : OUTPUT_MAX;
    buf_init(&run.line, LINE_MAX_BYTES);
    buf_init(&run.out, max);
    buf_init(&run.err, max);
    int rc = request(sandbox, "POST", "/execute", execute_body(code, run.options), &run, call, NULL,
                     err);
    if (run.full)
        rc = error_set(err, CARREL_LIMIT, "the code's output is larger than %zu bytes", max);
    else if (run.unusual)
        rc = error_set(err, CARREL_SERVER, "the interpreter sent a line that is no JSON");
    else if (rc == 0 && !run.ended)
        rc = call_explain_cut(
            sandbox, error_set(err, CARREL_CUT, "the interpreter stopped in the middle"), err);
    if (rc == 0)
        finish(&run, ret);
    json_decref(run.results);
    free(run.text);
    free(run.error_name);
    free(run.error_value);
    free(run.traceback);
    buf_done(&run.line);
    buf_done(&run.out);
    buf_done(&run.err);
    return rc;
}

void carrel_execution_done(struct carrel_execution *execution)
{
    free(execution->out);
    free(execution->err);
    free(execution->results);
    free(execution->text);
    free(execution->error_name);
    free(execution->error_value);
    free(execution->traceback);
    *execution = (struct carrel_execution){0};
}

/* ---- contexts ---- */

int carrel_context_create(struct carrel_sandbox *sandbox, const char *language, const char *cwd,
                          const struct carrel_call *call, char **ret_id, struct carrel_error *err)
{
    json_t *answer = NULL, *body = json_object();
    if (language)
        json_object_set_new(body, "language", json_string(language));
    if (cwd)
        json_object_set_new(body, "cwd", json_string(cwd));
    int rc = request(sandbox, "POST", "/contexts", body, NULL, call, &answer, err);
    if (rc == 0) {
        const char *id = fields_text_or_null(answer, "id");
        if (id)
            *ret_id = xstrdup(id);
        else
            rc = error_set(err, CARREL_SERVER, "the answer has no id of a context");
    }
    json_decref(answer);
    return rc;
}

static int act(struct carrel_sandbox *sandbox, const char *method, const char *id, const char *what,
               const struct carrel_call *call, struct carrel_error *err)
{
    char *coded = curl_easy_escape(NULL, id, 0);
    _cleanup_free_ char *path = xasprintf("/contexts/%s%s", coded ? coded : "", what);
    curl_free(coded);
    return request(sandbox, method, path, NULL, NULL, call, NULL, err);
}

int carrel_context_remove(struct carrel_sandbox *sandbox, const char *id,
                          const struct carrel_call *call, struct carrel_error *err)
{
    return act(sandbox, "DELETE", id, "", call, err);
}

int carrel_context_restart(struct carrel_sandbox *sandbox, const char *id,
                           const struct carrel_call *call, struct carrel_error *err)
{
    return act(sandbox, "POST", id, "/restart", call, err);
}
