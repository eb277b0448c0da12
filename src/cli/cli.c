/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands share that use a server. */
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

enum { STATUS_OWN = 125, STATUS_BROKEN_PIPE = 141 };

static struct carrel_cancel *to_cancel; /* for the signal handler */
static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
    if (stop_signal) /* a second one does not wait */
        _exit(128 + number);
    stop_signal = number;
    carrel_cancel(to_cancel);
}

/* A stop ends calls in an orderly way, so that half of a copy is cleaned up. What cannot be written any
 * more is an error like others, not a death. */
static void catch_signals(const struct command *command)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    if (!command->keep_break)
        sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

static int status_of(enum carrel_code code)
{
    static const int statuses[] = {
        [CARREL_OK] = 0,           [CARREL_INVALID] = 2,    [CARREL_UNAUTHENTICATED] = 77,
        [CARREL_DENIED] = 77,      [CARREL_NOT_FOUND] = 66, [CARREL_EXISTS] = 73,
        [CARREL_CONFLICT] = 75,    [CARREL_LIMIT] = 75,     [CARREL_NO_SPACE] = 74,
        [CARREL_UNSUPPORTED] = 69, [CARREL_GONE] = 69,      [CARREL_UNREACHABLE] = 69,
        [CARREL_CUT] = 69,         [CARREL_TIMEOUT] = 75,   [CARREL_CANCELED] = 130,
        [CARREL_LOCAL] = 74,       [CARREL_SERVER] = 70,
    };
    return statuses[code];
}

static const char *hint(enum carrel_code code)
{
    switch ((int)code) {
    case CARREL_UNREACHABLE:
        return "Is the server running? `carrel serve` starts one; E2B_API_URL says where it is.";
    case CARREL_UNAUTHENTICATED:
        return "Is E2B_API_KEY this server's? `eval \"$(carrel env)\"` sets it, as root on its "
               "host.";
    case CARREL_GONE:
        return "It ended, or is paused: `carrel ls` shows what is there, `carrel resume` wakes it.";
    default:
        return NULL;
    }
}

static int report(struct cli *cli, const struct command *command)
{
    int status = command->own_status ? STATUS_OWN : status_of(cli->err.code);
    if (cli->err.code == CARREL_LOCAL && cli->err.os_error == EPIPE)
        return STATUS_BROKEN_PIPE; /* the reader has what it wanted */
    if (cli->err.code == CARREL_CANCELED && stop_signal)
        return 128 + stop_signal;
    fflush(stdout);
    fprintf(stderr, "carrel %s: ", command->name);
    cli_print_text(stderr, cli->err.message);
    fputc('\n', stderr);
    if (hint(cli->err.code))
        fprintf(stderr, "%s\n", hint(cli->err.code));
    return status;
}

static int finish(struct cli *cli, const struct command *command, int rc)
{
    /* A full disk shows at the last flush, and counts. */
    bool lost = fflush(stdout) != 0 || ferror(stdout);
    int why = errno;
    if (rc >= 0 && lost) {
        if (why == EPIPE)
            return STATUS_BROKEN_PIPE;
        fprintf(stderr, "carrel %s: cannot write the output: %s\n", command->name, strerror(why));
        return 74;
    }
    return rc < 0 ? report(cli, command) : rc;
}

int cli_run(const struct command *command, int argc, char **argv)
{
    struct cli cli = {0};
    struct err err;
    if (arguments_parse(command, argc, argv, &cli.args, &err) < 0) {
        fprintf(stderr, "carrel %s: %s\nusage: carrel %s %s\n", command->name, err.message,
                command->name, command->usage);
        return 2;
    }
    if (arguments_has(&cli.args, "help")) {
        command_print_help(command);
        arguments_done(&cli.args);
        return 0;
    }
    cli.cancel = carrel_cancel_new(&cli.err);
    if (!cli.cancel)
        return report(&cli, command);
    to_cancel = cli.cancel;
    cli.call = (struct carrel_call){.cancel = cli.cancel, .user = cli_value(&cli, "user")};
    catch_signals(command);
    int status = finish(&cli, command, command->use(&cli));
    carrel_sandbox_free(cli.sandbox);
    carrel_client_free(cli.client);
    arguments_done(&cli.args);
    return status; /* the cancel stays: a signal may still come */
}

int cli_client(struct cli *cli)
{
    static const struct carrel_client_options options = {.user_agent = "carrel-cli"};
    if (!cli->client)
        cli->client = carrel_client_new(&options, &cli->err);
    return cli->client ? 0 : -(int)cli->err.code;
}

int cli_sandbox(struct cli *cli, const char *text)
{
    int rc = cli_client(cli);
    if (rc < 0)
        return rc;
    carrel_sandbox_free(cli->sandbox);
    cli->sandbox = NULL;
    return carrel_sandbox_find(cli->client, text, &cli->call, &cli->sandbox, &cli->err);
}

const char *cli_operand(const struct cli *cli, size_t n)
{
    return n < cli->args.operand_count ? cli->args.operands[n] : NULL;
}

bool cli_flag(const struct cli *cli, const char *name)
{
    return arguments_has(&cli->args, name);
}

const char *cli_value(const struct cli *cli, const char *name)
{
    return arguments_value(&cli->args, name);
}

int cli_wrong(struct cli *cli, const char *fmt, ...)
{
    va_list args;
    cli->err = (struct carrel_error){.code = CARREL_INVALID};
    va_start(args, fmt);
    vsnprintf(cli->err.message, sizeof cli->err.message, fmt, args);
    va_end(args);
    return -CARREL_INVALID;
}

int cli_number(struct cli *cli, const char *name, int64_t least, int64_t most, int64_t *ret)
{
    const char *text = cli_value(cli, name);
    if (text && str_to_i64(str_from(text), least, most, ret) < 0)
        return cli_wrong(cli, "--%s: \"%s\" is no number from %lld to %lld", name, text,
                         (long long)least, (long long)most);
    return 0;
}

int cli_pairs(struct cli *cli, const char *option, struct carrel_pair **ret)
{
    size_t n = 0;
    const char *text;
    while (arguments_nth(&cli->args, option, n))
        n++;
    struct carrel_pair *pairs = xcalloc(n + 1, sizeof *pairs);
    for (n = 0; (text = arguments_nth(&cli->args, option, n)) != NULL; n++) {
        size_t len = strcspn(text, "=");
        if (len == 0 || !text[len]) {
            cli_pairs_free(pairs);
            return cli_wrong(cli, "--%s: \"%s\" is not NAME=VALUE", option, text);
        }
        pairs[n] = (struct carrel_pair){xstrndup(text, len), text + len + 1};
    }
    *ret = pairs;
    return 0;
}

void cli_pairs_free(struct carrel_pair *pairs)
{
    for (size_t i = 0; pairs && pairs[i].name; i++)
        free((char *)pairs[i].name);
    free(pairs);
}

int cli_parse_seconds(const char *text, int64_t *ret)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    struct str digits = str_from(text);
    int64_t n, factor = 1;
    for (size_t i = 0; digits.len && i < ARRAY_SIZE(units); i++)
        if (digits.p[digits.len - 1] == units[i].unit) {
            factor = units[i].seconds;
            digits.len--;
            break;
        }
    if (str_to_i64(digits, 0, INT32_MAX, &n) < 0)
        return -EINVAL;
    *ret = n * factor;
    return 0;
}

void cli_print_json(json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(json);
}

void cli_print_text(FILE *out, const char *text)
{
    if (!isatty(fileno(out))) {
        fputs(text, out);
        return;
    }
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        fputc(*p < 0x20 || *p == 0x7f ? '?' : *p, out);
}

const char *cli_short_time(int64_t ms, char out[16])
{
    int64_t s = ms / 1000;
    if (s < 0)
        s = 0;
    if (s < 120)
        snprintf(out, 16, "%llds", (long long)s);
    else if (s < 120 * 60)
        snprintf(out, 16, "%lldm", (long long)((s + 30) / 60));
    else if (s < 48 * 3600)
        snprintf(out, 16, "%lldh", (long long)((s + 1800) / 3600));
    else
        snprintf(out, 16, "%lldd", (long long)(s / 86400) % 100000000);
    return out;
}

const char *cli_short_size(int64_t bytes, char out[16])
{
    static const char units[] = "KMGTP";
    double n = (double)bytes;
    int unit = -1;
    while (n >= 1000 && unit < 4) {
        n /= 1024;
        unit++;
    }
    if (unit < 0)
        snprintf(out, 16, "%d", (int)bytes);
    else
        snprintf(out, 16, n < 10 ? "%.1f%c" : "%.0f%c", n, units[unit]);
    return out;
}
