/* SPDX-License-Identifier: Apache-2.0 */
/* Uses all of libcarrel against the server that the environment names, many threads on one handle
 * among it; says what does not hold and returns 1. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <carrel/client.h>

enum { THREADS = 8, ROUNDS = 12 };

static struct carrel_error err;
static struct carrel_client *client;
static struct carrel_sandbox *sandbox;

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: %s (%s: %s)\n", __FILE__, __LINE__, #condition, \
                    carrel_code_name(err.code), err.message);                       \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

static void sandboxes(void)
{
    const struct carrel_pair metadata[] = {{"name", "try"}, {"odd & key", "v=1&2 \xc3\xa4"}, {0}};
    const struct carrel_sandbox_options options = {
        .timeout_s = 300, .metadata = metadata, .envs = (struct carrel_pair[]){{"FROM", "C"}, {0}}};
    struct carrel_sandbox *same;
    struct carrel_sandbox_list list;
    CHECK(carrel_sandbox_create(client, &options, NULL, &sandbox, &err) == 0);
    CHECK(carrel_sandbox_list(client, &(struct carrel_sandbox_filter){.metadata = metadata}, NULL,
                              &list, &err) == 0);
    CHECK(list.count == 1 && strcmp(list.items[0].id, carrel_sandbox_id(sandbox)) == 0);
    CHECK(strcmp(list.items[0].name, "try") == 0);
    carrel_sandbox_list_done(&list);
    CHECK(carrel_sandbox_find(client, "try", NULL, &same, &err) == 0);
    CHECK(strcmp(carrel_sandbox_id(same), carrel_sandbox_id(sandbox)) == 0);
    carrel_sandbox_free(same);
    CHECK(carrel_sandbox_connect(client, "nosuch", 0, NULL, &same, &err) == -CARREL_NOT_FOUND);
    CHECK(err.http_status == 404 && err.message[0]);
    CHECK(carrel_sandbox_find(client, "nosuch", NULL, &same, NULL) == -CARREL_NOT_FOUND);
    CHECK(carrel_sandbox_check(sandbox, NULL, &err) == 0);
}

static ssize_t give_x(void *arg, void *p, size_t n)
{
    size_t *left = arg;
    n = n < *left ? n : *left;
    memset(p, 'x', n);
    *left -= n;
    return (ssize_t)n;
}

static ssize_t give_up(void *arg, void *p, size_t n)
{
    (void)arg, (void)p, (void)n;
    return -1;
}

static int count(void *arg, const void *p, size_t n)
{
    (void)p;
    *(size_t *)arg += n;
    return 0;
}

static int refuse(void *arg, const void *p, size_t n)
{
    (void)arg, (void)p, (void)n;
    return 1;
}

static void files(void)
{
    char *text;
    size_t len, left = 3000000, got = 0;
    struct carrel_entry_list list;
    CHECK(carrel_file_write(sandbox, "d/a", "one\0two", 7, NULL, &err) == 0);
    CHECK(carrel_file_read(sandbox, "d/a", 0, NULL, &text, &len, &err) == 0);
    CHECK(len == 7 && memcmp(text, "one\0two", 8) == 0);
    free(text);
    CHECK(carrel_file_read(sandbox, "d/a", 6, NULL, &text, &len, &err) == -CARREL_LIMIT);
    CHECK(carrel_file_write(sandbox, "d/empty", NULL, 0, NULL, &err) == 0);
    CHECK(carrel_file_read(sandbox, "d/empty", 0, NULL, &text, &len, &err) == 0 && len == 0);
    free(text);
    CHECK(carrel_file_write_from(sandbox, "d/x", give_x, &left, NULL, &err) == 0 && left == 0);
    CHECK(carrel_file_read_to(sandbox, "d/x", count, &got, NULL, &err) == 0 && got == 3000000);
    CHECK(carrel_file_read_to(sandbox, "d/x", refuse, NULL, NULL, &err) == -CARREL_CANCELED);
    CHECK(carrel_file_write_from(sandbox, "d/x", give_up, NULL, NULL, &err) == -CARREL_CANCELED);
    CHECK(carrel_file_stat(sandbox, "d/x", NULL, &list, &err) == 0);
    CHECK(list.items[0].size == 3000000 && list.items[0].type == CARREL_FILE_REGULAR);
    carrel_entry_list_done(&list);
    CHECK(carrel_file_list(sandbox, "d", 0, NULL, &list, &err) == 0 && list.count == 3);
    carrel_entry_list_done(&list);
    CHECK(carrel_file_exists(sandbox, "d/a", NULL, &err) == 1);
    CHECK(carrel_file_exists(sandbox, "d/b", NULL, &err) == 0);
    CHECK(carrel_file_make_dir(sandbox, "d/e", NULL, &err) == 0);
    CHECK(carrel_file_make_dir(sandbox, "d/e", NULL, &err) == -CARREL_EXISTS);
    CHECK(carrel_file_move(sandbox, "d/a", "d/e/f", NULL, &err) == 0);
    CHECK(carrel_file_remove(sandbox, "d/e", NULL, &err) == 0);
    CHECK(carrel_file_exists(sandbox, "d/e/f", NULL, &err) == 0);
    CHECK(carrel_file_list(sandbox, "nowhere", 0, NULL, &list, &err) == -CARREL_NOT_FOUND);
    const struct carrel_call wrong = {.user = "nobody-there"};
    CHECK(carrel_file_stat(sandbox, "/", &wrong, &list, &err) == -CARREL_UNAUTHENTICATED);
    CHECK(carrel_file_stat(sandbox, "\xff", NULL, &list, &err) == -CARREL_INVALID);
}

static void watching(void)
{
    struct carrel_watch *watch;
    struct carrel_event event;
    CHECK(carrel_watch_start(sandbox, "d", NULL, NULL, &watch, &err) == 0);
    CHECK(carrel_watch_next(watch, 0, &event, &err) == -CARREL_TIMEOUT);
    CHECK(carrel_file_make_dir(sandbox, "d/seen", NULL, &err) == 0);
    CHECK(carrel_watch_next(watch, 30000, &event, &err) == 0);
    CHECK(event.change == CARREL_CHANGE_CREATE && strcmp(event.name, "seen") == 0);
    carrel_watch_free(watch);
    CHECK(carrel_watch_start(sandbox, "nowhere", NULL, NULL, &watch, &err) == -CARREL_NOT_FOUND);
}

static void commands(void)
{
    struct carrel_result result;
    struct carrel_process *process, *second;
    struct carrel_process_list list;
    struct carrel_output output;
    struct carrel_exit how;
    const char *const cat[] = {"cat", NULL};
    CHECK(carrel_run(sandbox, "echo $FROM; echo e >&2; exit 3", NULL, NULL, &result, &err) == 0);
    CHECK(strcmp(result.out, "C\n") == 0 && strcmp(result.err, "e\n") == 0);
    CHECK(result.exit.code == 3 && result.exit.signal == 0);
    carrel_result_done(&result);
    const struct carrel_command little = {.max_output = 10};
    CHECK(carrel_run(sandbox, "seq 100", &little, NULL, &result, &err) == -CARREL_LIMIT);
    const struct carrel_command brief = {.time_limit_ms = 200};
    CHECK(carrel_run(sandbox, "sleep 100", &brief, NULL, &result, &err) == -CARREL_TIMEOUT);

    const struct carrel_command open = {.open_stdin = true};
    CHECK(carrel_process_start(sandbox, cat, &open, NULL, &process, &err) == 0);
    CHECK(carrel_process_next(process, 0, &output, &err) == -CARREL_TIMEOUT);
    CHECK(carrel_process_exit(process, &how, &err) == -CARREL_CONFLICT);
    CHECK(carrel_process_write(process, "hello", 5, NULL, &err) == 0);
    CHECK(carrel_process_next(process, 30000, &output, &err) == 1);
    CHECK(output.len == 5 && memcmp(output.bytes, "hello", 5) == 0 && output.offset == 0);
    CHECK(carrel_process_list(sandbox, NULL, &list, &err) == 0 && list.count == 1);
    CHECK(list.items[0].pid == carrel_process_pid(process));
    CHECK(strcmp(list.items[0].argv[0], "cat") == 0 && !list.items[0].argv[1]);
    carrel_process_list_done(&list);
    /* another reader, from the middle */
    CHECK(carrel_process_attach(sandbox, carrel_process_pid(process), 2, NULL, &second, &err) == 0);
    CHECK(carrel_process_next(second, 30000, &output, &err) == 1);
    CHECK(output.len == 3 && memcmp(output.bytes, "llo", 3) == 0 && output.offset == 2);
    carrel_process_free(second);
    CHECK(carrel_process_close_stdin(process, NULL, &err) == 0);
    CHECK(carrel_process_next(process, 30000, &output, &err) == 0);
    CHECK(carrel_process_exit(process, &how, &err) == 0 && how.code == 0);
    CHECK(carrel_process_write(process, "x", 1, NULL, &err) < 0);
    carrel_process_free(process);

    const char *const sleep[] = {"sleep", "100", NULL};
    CHECK(carrel_process_start(sandbox, sleep, NULL, NULL, &process, &err) == 0);
    CHECK(carrel_process_signal(process, 1, false, NULL, &err) == 0);
    CHECK(carrel_process_wait(process, NULL, NULL, &how, &err) == 0);
    CHECK(how.code == -1 && how.signal == 1 && strcmp(how.status, "signal: hangup") == 0);
    carrel_process_free(process);

    const char *const size[] = {"sh", "-c", "stty size; read x; stty size", NULL};
    const struct carrel_command terminal = {.columns = 101, .rows = 31};
    CHECK(carrel_process_start(sandbox, size, &terminal, NULL, &process, &err) == 0);
    CHECK(carrel_process_next(process, 30000, &output, &err) == 1);
    CHECK(output.stream == CARREL_TERMINAL && memcmp(output.bytes, "31 101", 6) == 0);
    CHECK(carrel_process_resize(process, 90, 20, NULL, &err) == 0);
    CHECK(carrel_process_write(process, "\n", 1, NULL, &err) == 0);
    CHECK(carrel_process_wait(process, NULL, NULL, &how, &err) == 0 && how.code == 0);
    carrel_process_free(process);
}

/* ---- many at once ---- */

static atomic_int failures;

static void *work(void *arg)
{
    int id = (int)(intptr_t)arg;
    for (int i = 0; i < ROUNDS; i++) {
        char path[64], line[64], want[96], *text = NULL;
        struct carrel_result result = {0};
        size_t len;
        snprintf(path, sizeof path, "t/%d/%d", id, i);
        snprintf(line, sizeof line, "cat t/%d/%d; echo $((%d * %d))", id, i, id, i);
        snprintf(want, sizeof want, "%s%d\n", path, id * i);
        if (carrel_file_write(sandbox, path, path, strlen(path), NULL, NULL) < 0 ||
            carrel_file_read(sandbox, path, 0, NULL, &text, &len, NULL) < 0 ||
            strcmp(text, path) != 0 || carrel_run(sandbox, line, NULL, NULL, &result, NULL) < 0 ||
            strcmp(result.out, want) != 0)
            failures++;
        free(text);
        carrel_result_done(&result);
    }
    return NULL;
}

static void many_at_once(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(failures == 0);
}

static void *cancel_soon(void *arg)
{
    const struct timespec ts = {0, 50000000};
    nanosleep(&ts, NULL);
    carrel_cancel(arg);
    return NULL;
}

static void cancelling(void)
{
    struct carrel_cancel *cancel = carrel_cancel_new(&err);
    const struct carrel_call call = {.cancel = cancel};
    struct carrel_result result;
    pthread_t thread;
    pthread_create(&thread, NULL, cancel_soon, cancel);
    CHECK(carrel_run(sandbox, "sleep 100", NULL, &call, &result, &err) == -CARREL_CANCELED);
    pthread_join(thread, NULL);
    CHECK(carrel_file_exists(sandbox, "/", &call, &err) == -CARREL_CANCELED);
    carrel_cancel_reset(cancel);
    CHECK(carrel_file_exists(sandbox, "/", &call, &err) == 1);
    carrel_cancel_free(cancel);
    const struct carrel_call brief = {.timeout_ms = 300};
    CHECK(carrel_file_write_from(sandbox, "y", give_up, NULL, &brief, &err) == -CARREL_CANCELED);
}

static void the_end(void)
{
    struct carrel_process *process;
    struct carrel_exit how;
    const char *const sleep[] = {"sleep", "100", NULL};
    CHECK(carrel_sandbox_set_timeout(sandbox, 600, NULL, &err) == 0);
    CHECK(carrel_sandbox_pause(sandbox, NULL, &err) == 0);
    CHECK(carrel_sandbox_pause(sandbox, NULL, &err) == -CARREL_CONFLICT);
    CHECK(carrel_sandbox_check(sandbox, NULL, &err) == -CARREL_GONE);
    CHECK(carrel_sandbox_resume(sandbox, 0, NULL, &err) == 0);
    CHECK(carrel_process_start(sandbox, sleep, NULL, NULL, &process, &err) == 0);
    CHECK(carrel_sandbox_kill(sandbox, NULL, &err) == 0);
    CHECK(carrel_process_wait(process, NULL, NULL, &how, &err) == -CARREL_GONE);
    carrel_process_free(process);
    CHECK(carrel_sandbox_kill(sandbox, NULL, &err) == -CARREL_NOT_FOUND);
    CHECK(carrel_file_write(sandbox, "a", "b", 1, NULL, &err) == -CARREL_GONE);
}

int main(void)
{
    client = carrel_client_new(NULL, &err);
    CHECK(client != NULL);
    sandboxes();
    files();
    watching();
    commands();
    many_at_once();
    cancelling();
    the_end();
    carrel_sandbox_free(sandbox);
    carrel_client_free(client);
    puts("all of it holds");
    return 0;
}
