/* SPDX-License-Identifier: Apache-2.0 */
/* The option table of `carrel serve`, read from the command line and from an ini file. */
#include "server/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <limits.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "server/pool.h"

enum kind { TEXT, PATH, WORD, ADDRESSES, RANGES, NUMBER, CPU, FLAG, LEVEL };
enum source { DEFAULT, FILE_LINE, ARGUMENT };

/* inih reads lines of up to 200 bytes and treats the rest as another line; so longer ones must be
 * refused before it sees them. */
enum { LINE_MAX_BYTES = 190, FILE_MAX_BYTES = 1 << 20 };

struct option {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *initial; /* default, as it would be given; NULL: none */
    const char *value;   /* what the help calls its value */
    const char *help;    /* NULL: not shown */
    uint64_t min, max;   /* of NUMBER */
};

#define AT(member) offsetof(struct config, member)
static const struct option table[] = {
    {"listen", TEXT, AT(listen), "127.0.0.1:3000", "ADDR:PORT",
     "where to serve API and sandbox traffic; port 0 takes a free one"},
    {"state", PATH, AT(state), "/var/lib/carrel", "DIR", "what outlives a restart"},
    {"run", PATH, AT(run), "/run/carrel", "DIR", "sockets of the running server"},
    {"templates", PATH, AT(templates), NULL, "DIR", "templates (default: <state>/templates)"},
    {"config", PATH, AT(file), NULL, "FILE",
     "read these options from a file, `name = value` lines"},
    {"ca-bundle", TEXT, AT(ca_bundle), NULL, "FILE|none",
     "certificates that sandboxes trust (default: the host's)"},
    {"dns", ADDRESSES, AT(dns), NULL, "ADDR",
     "resolver for sandboxes, up to 3 times (default: the host's)"},
    {"allow-private", RANGES, AT(opened), NULL, "ADDR/LENGTH",
     "private range that sandboxes may reach, up to 16 times (default: none)"},
    {"domain", TEXT, AT(domain), NULL, "NAME[:PORT]",
     "what names of sandbox ports end in (default: sbx.localhost and the port)"},
    {"tls-cert", PATH, AT(tls_certificate), NULL, "FILE",
     "certificate with its chain, PEM: TLS on the same port, HTTP/2 with it; read again on change"},
    {"tls-key", PATH, AT(tls_key), NULL, "FILE", "its key; readable by the server's user"},
    {"user", TEXT, AT(user), NULL, "NAME|UID",
     "whom the server runs as (default: carrel if there is such a user, else 64991)"},
    {"memory-mb", NUMBER, AT(memory_mb), "2048", "MB", "memory of a sandbox", 16, 1 << 24},
    {"cpus", CPU, AT(cpu_millis), "2", "N", "CPUs of a sandbox, such as 2 or 0.5"},
    {"pids", NUMBER, AT(pids), "1024", "N", "processes and threads of a sandbox", 16, 1 << 22},
    {"disk-mb", NUMBER, AT(disk_mb), "10240", "MB", "what a sandbox may write; 0: no limit", 0,
     1 << 30},
    {"disk-backend", WORD, AT(disk_backend), "auto", "auto|quota|image|guard|none",
     "what keeps sandboxes within it (see docs/operations.md)"},
    {"disk-image-mb", NUMBER, AT(disk_image_mb), "0", "MB",
     "size of the disk image, if there is one; 0: what is free", 0, 1 << 30},
    {"pool", TEXT, AT(pool), "base=4", "NAME=N,…|none",
     "whole sandboxes kept waiting for the next requests, by template"},
    {"net-pool", NUMBER, AT(net_pool), "8", "N",
     "networks and directories kept ready for the next sandboxes", 0, 1024},
    {"project-sandboxes", NUMBER, AT(project_sandboxes), "0", "N",
     "sandboxes of one project at once; 0: no limit of its own", 0, 100000},
    {"keep-memory-mb", NUMBER, AT(keep_memory_mb), "256", "MB",
     "memory of the host below which no sandbox is made", 0, 1 << 24},
    {"keep-disk-mb", NUMBER, AT(keep_disk_mb), "512", "MB",
     "free space for state below which no sandbox is made", 0, 1 << 30},
    {"rate", NUMBER, AT(rate), "0", "N",
     "control requests a second of one project; 0: no limit", 0, 1000000},
    {"metrics", TEXT, AT(metrics), NULL, "ADDR:PORT",
     "where Prometheus reads /metrics, without a key (default: nowhere)"},
    {"max-sandboxes", NUMBER, AT(max_sandboxes), "2000", "N", "sandboxes at once", 1, 100000},
    {"max-timeout", NUMBER, AT(max_timeout), "86400", "SECONDS", "longest life of a sandbox", 1,
     INT32_MAX},
    {"keep-ended", NUMBER, AT(keep_ended), "30", "SECONDS",
     "how long the end of a command and the rest of its output can be asked for", 1, 86400},
    {"stop-timeout", NUMBER, AT(stop_timeout), "5", "SECONDS",
     "how long a stop waits for running responses", 0, 3600},
    {"log-level", LEVEL, AT(log_level), "info", "LEVEL", "debug, info, warning or error"},
    {"weaken", TEXT, AT(weaken), NULL, "LIST", NULL},
    {"replace", FLAG, AT(replace), NULL, NULL,
     "take the place, and the address, of one that serves from the same --run"},
    {"ephemeral", FLAG, AT(ephemeral), NULL, NULL,
     "a stop kills all sandboxes and leaves nothing on the host"},
};
#undef AT
_Static_assert(ARRAY_SIZE(table) <= CONFIG_OPTIONS_MAX, "set_by is too small");

static const struct option *find(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        if (str_eqz(name, table[i].name))
            return &table[i];
    return NULL;
}

static int bad_value(struct err *err, const struct option *option, const char *value,
                     const char *expected)
{
    return err_set(err, ERR_INVALID, 0, "%s: \"%s\" is not %s", option->name, value, expected);
}

/* "2", "0.5", "1.25": at most three digits after the point. */
static int parse_cpus(const char *value, uint64_t *ret)
{
    struct str rest = str_from(value), whole, part = STR("");
    uint64_t n = 0, thousandths = 0;
    str_split(&rest, '.', &whole);
    if (rest.p)
        part = rest;
    if (str_to_u64(whole, 4096, &n) < 0 || (rest.p && (part.len == 0 || part.len > 3)))
        return -EINVAL;
    if (rest.p) {
        if (str_to_u64(part, 999, &thousandths) < 0)
            return -EINVAL;
        for (size_t i = part.len; i < 3; i++)
            thousandths *= 10;
    }
    if (n * 1000 + thousandths < 10)
        return -EINVAL;
    *ret = n * 1000 + thousandths;
    return 0;
}

static int set_number(struct config *config, const struct option *option, const char *value,
                      struct err *err)
{
    uint64_t n;
    if (option->kind == CPU) {
        if (parse_cpus(value, &n) < 0)
            return bad_value(err, option, value, "a number of CPUs such as 2 or 0.5");
    } else if (str_to_u64(str_from(value), option->max, &n) < 0 || n < option->min) {
        return err_set(err, ERR_INVALID, 0, "%s: \"%s\" is not a whole number from %llu to %llu",
                       option->name, value, (unsigned long long)option->min,
                       (unsigned long long)option->max);
    }
    memcpy((char *)config + option->offset, &n, sizeof n);
    return 0;
}

static int set_level(struct config *config, const struct option *option, const char *value,
                     struct err *err)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (str_eqz(str_from(value), names[i])) {
            config->log_level = (enum log_level)i;
            return 0;
        }
    }
    return bad_value(err, option, value, "debug, info, warning or error");
}

static int set_flag(struct config *config, const struct option *option, const char *value,
                    struct err *err)
{
    bool on = str_eqz(str_from(value), "true");
    if (!on && !str_eqz(str_from(value), "false"))
        return bad_value(err, option, value, "true or false");
    memcpy((char *)config + option->offset, &on, sizeof on);
    return 0;
}

static bool is_one_of(const char *value, const char *words)
{
    struct str rest = str_from(words), word;
    while (str_split(&rest, '|', &word))
        if (str_eqz(word, value))
            return true;
    return false;
}

static int set_text(struct config *config, const struct option *option, const char *value,
                    struct err *err)
{
    char *text;
    if (*value == '\0')
        return err_set(err, ERR_INVALID, 0, "%s: empty value", option->name);
    if (option->kind == PATH && *value != '/') {
        _cleanup_free_ char *here = getcwd(NULL, 0);
        if (!here)
            return err_os(err, errno, "%s: current directory", option->name);
        text = path_join(here, value);
    } else {
        text = xstrdup(value);
    }
    char **member = (char **)(void *)((char *)config + option->offset);
    free(*member);
    *member = text;
    return 0;
}

int config_parse_range(const char *text, uint32_t *ret_address, unsigned *ret_prefix)
{
    char copy[INET_ADDRSTRLEN];
    struct str rest = str_from(text), address;
    struct in_addr parsed;
    uint64_t prefix;
    if (!str_split(&rest, '/', &address) || address.len >= sizeof copy || !rest.p ||
        str_to_u64(rest, 32, &prefix) < 0)
        return -EINVAL;
    memcpy(copy, address.p, address.len);
    copy[address.len] = '\0';
    if (inet_pton(AF_INET, copy, &parsed) != 1)
        return -EINVAL;
    uint32_t number = ntohl(parsed.s_addr);
    if (prefix < 32 && (number & (UINT32_MAX >> prefix)))
        return -EINVAL;
    *ret_address = number;
    *ret_prefix = (unsigned)prefix;
    return 0;
}

static void clear_list(char **list, size_t *count)
{
    while (*count > 0)
        free(list[--*count]);
}

static int add_to_list(struct config *config, const struct option *option, const char *value,
                       bool first, struct err *err)
{
    bool ranges = option->kind == RANGES;
    char **list = ranges ? config->opened : config->dns;
    size_t *count = ranges ? &config->opened_count : &config->dns_count;
    size_t max = ranges ? (size_t)CONFIG_OPENED_MAX : (size_t)CONFIG_DNS_MAX;
    struct in_addr address;
    uint32_t number;
    unsigned prefix;
    if (first)
        clear_list(list, count);
    if (ranges && config_parse_range(value, &number, &prefix) < 0)
        return bad_value(err, option, value, "an IPv4 range such as 10.1.0.0/16");
    if (!ranges && inet_pton(AF_INET, value, &address) != 1)
        return bad_value(err, option, value, "an IPv4 address");
    if (*count == max)
        return err_set(err, ERR_INVALID, 0, "%s: at most %zu", option->name, max);
    list[(*count)++] = xstrdup(value);
    return 0;
}

static int set(struct config *config, const struct option *option, const char *value,
               enum source source, struct err *err)
{
    unsigned char *by = &config->set_by[option - table];
    bool again = *by == source;
    if (again && source == FILE_LINE && option->kind != ADDRESSES && option->kind != RANGES)
        return err_set(err, ERR_INVALID, 0, "%s: given twice", option->name);
    *by = (unsigned char)source;
    switch (option->kind) {
    case NUMBER:
    case CPU:
        return set_number(config, option, value, err);
    case LEVEL:
        return set_level(config, option, value, err);
    case FLAG:
        return set_flag(config, option, value, err);
    case ADDRESSES:
    case RANGES:
        return add_to_list(config, option, value, !again, err);
    case WORD:
        if (!is_one_of(value, option->value))
            return bad_value(err, option, value, option->value);
        break;
    case TEXT:
    case PATH:
        break;
    }
    return set_text(config, option, value, err);
}

/* ---- file ---- */

struct file_parse {
    struct config *config;
    struct err *err;
    bool failed;
};

static int on_line(void *arg, const char *section, const char *name, const char *value)
{
    struct file_parse *parse = arg;
    if (parse->failed)
        return 1; /* only the first error counts */
    const struct option *option = find(str_from(name));
    int rc;
    if (*section != '\0')
        rc = err_set(parse->err, ERR_INVALID, 0, "section [%s]: there are no sections here",
                     section);
    else if (!option || option->offset == offsetof(struct config, file))
        rc = err_set(parse->err, ERR_INVALID, 0, "unknown option \"%s\"", name);
    else
        rc = set(parse->config, option, value ? value : "", FILE_LINE, parse->err);
    parse->failed = rc < 0;
    return rc >= 0;
}

static int load_file(struct config *config, const char *path, struct err *err)
{
    _cleanup_free_ char *text = NULL;
    size_t len;
    int rc = fd_read_file(AT_FDCWD, path, FILE_MAX_BYTES, &text, &len);
    if (rc < 0)
        return err_os(err, -rc, "config: %s", path);

    struct str rest = {text, len}, line;
    for (int number = 1; str_split(&rest, '\n', &line); number++) {
        if (line.len > LINE_MAX_BYTES || memchr(line.p, '\0', line.len))
            return err_set(err, ERR_INVALID, 0, "%s:%d: %s", path, number,
                           line.len > LINE_MAX_BYTES ? "longer than 190 bytes" : "NUL byte");
    }
    struct err inner = {0};
    struct file_parse parse = {.config = config, .err = &inner};
    int line_number = ini_parse_string(text, on_line, &parse);
    if (line_number == 0)
        return 0;
    return err_set(err, ERR_INVALID, 0, "%s:%d: %s", path, line_number,
                   parse.failed ? inner.message : "neither `name = value` nor a comment");
}

/* ---- command line ---- */

struct argument {
    const struct option *option;
    const char *value;
    char storage[PATH_MAX]; /* of a value that follows '=' */
};

/* Takes the option at argv[0]; returns how many arguments it used. */
static int take_argument(int argc, char **argv, struct argument *ret, struct err *err)
{
    struct str rest = str_from(argv[0]), name;
    if (!str_starts(rest, STR("--")) || rest.len == 2)
        return err_set(err, ERR_INVALID, 0, "unexpected argument \"%s\"", argv[0]);
    rest.p += 2;
    rest.len -= 2;
    str_split(&rest, '=', &name);
    ret->option = find(name);
    if (!ret->option)
        return err_set(err, ERR_INVALID, 0, "unknown option --%.*s", STR_ARG(name));
    if (rest.p) {
        if (rest.len >= sizeof ret->storage)
            return err_set(err, ERR_INVALID, 0, "--%.*s: value too long", STR_ARG(name));
        memcpy(ret->storage, rest.p, rest.len);
        ret->storage[rest.len] = '\0';
        ret->value = ret->storage;
        return 1;
    }
    if (ret->option->kind == FLAG) {
        ret->value = "true";
        return 1;
    }
    if (argc == 1)
        return err_set(err, ERR_INVALID, 0, "--%.*s: a value is missing", STR_ARG(name));
    ret->value = argv[1];
    return 2;
}

static int load_arguments(struct config *config, int argc, char **argv, bool only_config,
                          struct err *err)
{
    struct argument argument = {0};
    for (int i = 0; i < argc;) {
        struct err why;
        int used = take_argument(argc - i, argv + i, &argument, err);
        if (used < 0)
            return used;
        i += used;
        if (only_config != (argument.option->offset == offsetof(struct config, file)))
            continue;
        if (set(config, argument.option, argument.value, ARGUMENT, &why) < 0)
            return err_set(err, ERR_INVALID, 0, "--%s", why.message);
    }
    return 0;
}

/* sun_path holds 108 bytes, and sandbox sockets live at <run>/<id>/agent.sock. */
static int check(const struct config *config, struct err *err)
{
    if (!config->tls_certificate != !config->tls_key)
        return err_set(err, ERR_INVALID, 0, "tls-cert and tls-key: one without the other");
    char host[256], port[8];
    if (strlen(config->run) > 107 - sizeof "/i0123456789abcdefghi/agent.sock")
        return err_set(err, ERR_INVALID, 0, "run: \"%s\" is too long for the sockets in it",
                       config->run);
    int rc = pool_check(config->pool, err);
    return rc < 0 ? rc : config_split_listen(config->listen, host, port, err);
}

int config_load(struct config *config, int argc, char **argv, struct err *err)
{
    int rc;
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (table[i].initial && (rc = set(config, &table[i], table[i].initial, DEFAULT, err)) < 0)
            return rc;
    }
    if ((rc = load_arguments(config, argc, argv, true, err)) < 0)
        return rc;
    if (config->file && (rc = load_file(config, config->file, err)) < 0)
        return rc;
    if ((rc = load_arguments(config, argc, argv, false, err)) < 0)
        return rc;
    if (!config->templates)
        config->templates = path_join(config->state, "templates");
    return check(config, err);
}

void config_done(struct config *config)
{
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (table[i].kind == TEXT || table[i].kind == PATH || table[i].kind == WORD)
            free(*(char **)(void *)((char *)config + table[i].offset));
    }
    clear_list(config->dns, &config->dns_count);
    clear_list(config->opened, &config->opened_count);
    memset(config, 0, sizeof *config);
}

void config_print_help(FILE *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        char head[64];
        if (!table[i].help)
            continue;
        snprintf(head, sizeof head, "--%s %s", table[i].name, table[i].value ? table[i].value : "");
        fprintf(out, "  %-26s %s", head, table[i].help);
        if (table[i].initial)
            fprintf(out, " (%s)", table[i].initial);
        fputc('\n', out);
    }
}

int config_split_listen(const char *text, char host[256], char port[8], struct err *err)
{
    const char *colon = strrchr(text, ':');
    uint64_t number;
    if (!colon || str_to_u64(str_from(colon + 1), 65535, &number) < 0)
        return err_set(err, ERR_INVALID, 0, "listen: \"%s\" is not ADDR:PORT", text);
    struct str name = {text, (size_t)(colon - text)};
    if (name.len >= 2 && name.p[0] == '[' && name.p[name.len - 1] == ']') {
        name.p++;
        name.len -= 2;
    } else if (str_find(name, ':') < name.len) {
        return err_set(err, ERR_INVALID, 0, "listen: write \"%s\" as [ADDR]:PORT", text);
    }
    if (name.len >= 256)
        return err_set(err, ERR_INVALID, 0, "listen: \"%s\" is not ADDR:PORT", text);
    memcpy(host, name.p, name.len);
    host[name.len] = '\0';
    snprintf(port, 8, "%u", (unsigned)number);
    return 0;
}
