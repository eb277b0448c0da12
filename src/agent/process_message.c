/* SPDX-License-Identifier: Apache-2.0 */
/* The request messages of process.Process. */
#include "agent/process_message.h"

#include <errno.h>
#include <signal.h>

#include "base/mem.h"
#include "rpc/jsonx.h"

enum {
    ENVS_MAX = 65536, /* the kernel takes fewer; a bound on our own work */
    CELLS_MAX = 65535,
    SIGNAL_MAX = 31, /* two of them have names on the wire */
};

void process_config_done(struct process_config *config)
{
    for (size_t i = 0; i < config->argc; i++)
        free(config->argv[i]);
    free(config->argv);
    for (size_t i = 0; i < config->env_count; i++) {
        free(config->envs[i].name);
        free(config->envs[i].value);
    }
    free(config->envs);
    free(config->cwd);
    free(config->tag);
    *config = (struct process_config){0};
}

size_t process_config_size(const struct process_config *config)
{
    enum { EACH = 40 }; /* of a text: its pointer, and what an allocation takes beside it */
    size_t size = config->cwd ? strlen(config->cwd) : 0;
    size += config->tag ? strlen(config->tag) : 0;
    for (size_t i = 0; i < config->argc; i++)
        size += strlen(config->argv[i]) + EACH;
    for (size_t i = 0; i < config->env_count; i++)
        size += strlen(config->envs[i].name) + strlen(config->envs[i].value) + 2 * EACH;
    return size;
}

void process_start_done(struct process_start_request *request)
{
    process_config_done(&request->config);
}

static int text_copy(const json_t *in, const char *name, char **ret, struct err *err)
{
    struct str text;
    int rc = jsonx_text(in, name, &text, err);
    if (rc == 1)
        *ret = xstrndup(text.p, text.len);
    return rc;
}

static int parse_argv(const json_t *process, struct process_config *config, struct err *err)
{
    struct str cmd = {NULL, 0};
    json_t *args = NULL, *arg;
    size_t i;
    int rc = jsonx_text(process, "cmd", &cmd, err);
    if (rc >= 0)
        rc = jsonx_array(process, "args", &args, err);
    if (rc < 0)
        return rc;
    if (cmd.len == 0)
        return err_set(err, ERR_INVALID, 0, "field 'process.cmd' is missing");
    config->argv = xcalloc(json_array_size(args) + 2, sizeof *config->argv);
    config->argv[config->argc++] = xstrndup(cmd.p, cmd.len);
    json_array_foreach (args, i, arg) {
        if (!json_is_string(arg))
            return err_set(err, ERR_INVALID, 0, "field 'process.args[%zu]' must be a string", i);
        config->argv[config->argc++] = xstrndup(json_string_value(arg), json_string_length(arg));
    }
    return 0;
}

static int parse_envs(json_t *process, struct process_config *config, struct err *err)
{
    json_t *envs = NULL, *value;
    const char *name;
    int rc = jsonx_object(process, "envs", &envs, err);
    if (rc <= 0)
        return rc;
    if (json_object_size(envs) > ENVS_MAX)
        return err_set(err, ERR_INVALID, 0, "more than %d environment variables", ENVS_MAX);
    config->envs = xcalloc(json_object_size(envs), sizeof *config->envs);
    json_object_foreach (envs, name, value) {
        if (!*name || strchr(name, '='))
            return err_set(err, ERR_INVALID, 0, "'%.64s' is no name of an environment variable",
                           name);
        if (!json_is_string(value))
            return err_set(err, ERR_INVALID, 0, "field 'process.envs.%.64s' must be a string",
                           name);
        config->envs[config->env_count++] =
            (struct agent_env){xstrdup(name), xstrdup(json_string_value(value))};
    }
    return 0;
}

static int parse_config(const json_t *in, struct process_config *config, struct err *err)
{
    json_t *process = NULL;
    int rc = jsonx_object(in, "process", &process, err);
    if (rc < 0)
        return rc;
    if (!process)
        return err_set(err, ERR_INVALID, 0, "field 'process' is missing");
    rc = parse_argv(process, config, err);
    if (rc >= 0)
        rc = parse_envs(process, config, err);
    if (rc >= 0)
        rc = text_copy(process, "cwd", &config->cwd, err);
    if (rc >= 0)
        rc = text_copy(in, "tag", &config->tag, err);
    return rc < 0 ? rc : 0;
}

int process_start_parse(const json_t *in, struct process_start_request *ret, struct err *err)
{
    struct process_start_request request = {.stdin_open = true};
    int rc = parse_config(in, &request.config, err);
    if (rc >= 0)
        rc = jsonx_bool(in, "stdin", &request.stdin_open, err);
    if (rc >= 0)
        rc = jsonx_bool(in, "keepOutput", &request.keep, err);
    if (rc >= 0)
        rc = process_size_parse(in, &request.size, err);
    if (rc < 0) {
        process_start_done(&request);
        return rc;
    }
    request.pty = jsonx_get(in, "pty") != NULL;
    *ret = request;
    return 0;
}

int process_selector_parse(const json_t *in, struct process_selector *ret, struct err *err)
{
    struct process_selector selector = {0};
    json_t *process = NULL;
    int rc = jsonx_object(in, "process", &process, err);
    if (rc < 0)
        return rc;
    int by_pid = process ? jsonx_u32(process, "pid", &selector.pid, err) : 0;
    int by_tag = process && by_pid >= 0 ? jsonx_text(process, "tag", &selector.tag, err) : 0;
    if (by_pid < 0 || by_tag < 0)
        return -EINVAL;
    if (by_pid + by_tag != 1)
        return err_set(err, ERR_INVALID, 0, "field 'process' must have one of 'pid' and 'tag'");
    *ret = selector;
    return 0;
}

int process_input_parse(const json_t *in, struct process_input_bytes *ret, struct err *err)
{
    struct process_input_bytes input = {0};
    json_t *member = NULL;
    int rc = jsonx_object(in, "input", &member, err);
    if (rc < 0)
        return rc;
    bool to_stdin = member && jsonx_get(member, "stdin");
    input.pty = member && jsonx_get(member, "pty");
    if (to_stdin == input.pty)
        return err_set(err, ERR_INVALID, 0, "field 'input' must have one of 'stdin' and 'pty'");
    rc = jsonx_bytes(member, input.pty ? "pty" : "stdin", &input.bytes, &input.len, err);
    if (rc < 0)
        return rc;
    *ret = input;
    return 0;
}

int process_size_parse(const json_t *in, struct process_size *ret, struct err *err)
{
    json_t *pty = NULL, *size = NULL;
    uint32_t cols = 0, rows = 0;
    int rc = jsonx_object(in, "pty", &pty, err);
    if (rc == 1)
        rc = jsonx_object(pty, "size", &size, err);
    if (rc == 1)
        rc = jsonx_u32(size, "cols", &cols, err);
    if (rc >= 0 && size)
        rc = jsonx_u32(size, "rows", &rows, err);
    if (rc < 0)
        return rc;
    if (cols > CELLS_MAX || rows > CELLS_MAX)
        return err_set(err, ERR_INVALID, 0, "a terminal has at most %d columns and rows",
                       CELLS_MAX);
    *ret = (struct process_size){size != NULL, (uint16_t)cols, (uint16_t)rows};
    return 0;
}

int process_signal_parse(const json_t *in, int *ret_signal, bool *ret_group, struct err *err)
{
    static const struct jsonx_enum values[] = {
        {"SIGNAL_UNSPECIFIED", 0},
        {"SIGNAL_SIGKILL", SIGKILL},
        {"SIGNAL_SIGTERM", SIGTERM},
        {NULL, 0},
    };
    int number = 0;
    *ret_group = false;
    int rc = jsonx_enum(in, "signal", values, &number, err);
    if (rc >= 0)
        rc = jsonx_bool(in, "group", ret_group, err);
    if (rc < 0)
        return rc;
    if (number < 1 || number > SIGNAL_MAX)
        return err_set(err, ERR_UNIMPLEMENTED, 0, "signal %d: only 1 to %d are sent", number,
                       SIGNAL_MAX);
    *ret_signal = number;
    return 0;
}

int process_offset_parse(const json_t *in, int64_t *ret, struct err *err)
{
    int rc = jsonx_i64(in, "fromOffset", ret, err);
    if (rc == 1 && *ret < 0)
        return err_set(err, ERR_INVALID, 0, "field 'fromOffset' must not be negative");
    return rc;
}

json_t *process_info_json(const struct process_config *config, uint32_t pid)
{
    json_t *args = json_array(), *envs = json_object(), *fields = json_object();
    for (size_t i = 1; i < config->argc; i++)
        json_array_append_new(args, jsonx_lossy_text(str_from(config->argv[i])));
    for (size_t i = 0; i < config->env_count; i++)
        json_object_set_new_nocheck(envs, config->envs[i].name,
                                    jsonx_lossy_text(str_from(config->envs[i].value)));
    jsonx_put_text(fields, "cmd", config->argv[0]);
    if (json_array_size(args))
        json_object_set(fields, "args", args);
    if (json_object_size(envs))
        json_object_set(fields, "envs", envs);
    if (config->cwd) /* optional fields are written when they are set, empty or not */
        json_object_set_new(fields, "cwd", jsonx_lossy_text(str_from(config->cwd)));
    json_decref(args);
    json_decref(envs);
    json_t *info = json_pack("{s:o}", "config", fields);
    jsonx_put_u32(info, "pid", pid);
    if (config->tag)
        json_object_set_new(info, "tag", jsonx_lossy_text(str_from(config->tag)));
    return info;
}
