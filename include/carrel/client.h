/* SPDX-License-Identifier: Apache-2.0 */
/* libcarrel: sandboxes of a carrel server, from C.
 *
 *     struct carrel_error err;
 *     struct carrel_client *client = carrel_client_new(NULL, &err);
 *     struct carrel_sandbox *sandbox;
 *     if (client && carrel_sandbox_create(client, NULL, NULL, &sandbox, &err) == 0) {
 *         struct carrel_result result;
 *         if (carrel_run(sandbox, "echo $((6 * 7))", NULL, NULL, &result, &err) == 0)
 *             fputs(result.out, stdout);
 *         ...
 *
 * Conventions, for all functions:
 *
 * - Errors. What can fail returns an int, 0 or more on success and -CARREL_... (enum carrel_code) on
 *   failure, or a pointer that is NULL then. The last parameter, which may be NULL, is told more.
 *   Results (`ret...`) are written on success only.
 * - Options. Structs of options and calls may be NULL, and a member that is 0 means its default, so
 *   that `&(struct carrel_command){.cwd = "/tmp"}` is all there is to say. Everything passed in is
 *   borrowed for the time of the call.
 * - Ownership. What a function makes has the function that ends it named with it. Text inside a
 *   result belongs to the result. Bytes given to a callback are valid until it returns.
 * - Units. Times are milliseconds in names ending in _ms, whole seconds in names ending in _s; points
 *   in time are milliseconds since 1970, UTC. Sizes are bytes. Text is UTF-8 unless it is a path of
 *   the local machine; a path in a sandbox is absolute, relative to the user's home, or begins with ~.
 * - Threads. Every function may be called from any thread, on the same handle at the same time too;
 *   calls on one client run side by side. Two exceptions: one thread at a time reads from a process or
 *   a watch (others wait for their turn), and nothing may use a handle that is being freed.
 * - Signals and forks. The library installs no signal handler; a call that a signal interrupts goes on.
 *   A child made by fork must not use handles of its parent.
 * - Local programs. Nothing is started, and nothing is printed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CARREL_API __attribute__((visibility("default")))

/* The version of the library that is linked, such as "0.1.0". */
CARREL_API const char *carrel_version(void);

/* ---- errors ------------------------------------------------------------------------------------ */

enum carrel_code {
    CARREL_OK,
    CARREL_INVALID,         /* an argument is wrong, here or in the server's opinion */
    CARREL_UNAUTHENTICATED, /* the key or a token is missing or wrong, or there is no such user */
    CARREL_DENIED,          /* known, and not allowed */
    CARREL_NOT_FOUND,       /* no such sandbox, file, process, template or context */
    CARREL_EXISTS,          /* it is there already */
    CARREL_CONFLICT,        /* not in the state it is in */
    CARREL_LIMIT,           /* too many or too much, by a limit of the server or the caller's own */
    CARREL_NO_SPACE,        /* the sandbox's disk is full */
    CARREL_UNSUPPORTED,     /* this server cannot do it */
    CARREL_GONE,            /* the sandbox ended, or is paused and not to be woken */
    CARREL_UNREACHABLE,     /* the server does not answer */
    CARREL_CUT,             /* the connection broke in the middle */
    CARREL_TIMEOUT,         /* time is up */
    CARREL_CANCELED,        /* by carrel_cancel, or by a callback */
    CARREL_LOCAL,           /* a system call on this machine failed: see os_error */
    CARREL_SERVER,          /* the server failed, or said what it must not */
};

struct carrel_error {
    enum carrel_code code;
    int http_status;   /* of the answer behind it, 0 if there was none */
    int os_error;      /* errno behind it, 0 if there is none */
    char message[240]; /* one line for people, without a line end */
};

/* "not_found" for CARREL_NOT_FOUND, and so on; static. */
CARREL_API const char *carrel_code_name(enum carrel_code code);

/* ---- calls ------------------------------------------------------------------------------------- */

/* Lets a call be ended early. One may serve many calls, one after another or at once. */
struct carrel_cancel;

CARREL_API struct carrel_cancel *carrel_cancel_new(struct carrel_error *err);
/* Ends all calls that use it with CARREL_CANCELED, and all later ones. May be called in any thread and
 * in a signal handler; keeps errno. */
CARREL_API void carrel_cancel(struct carrel_cancel *cancel);
/* Whether carrel_cancel has been called. */
CARREL_API bool carrel_cancelled(const struct carrel_cancel *cancel);
/* Makes it fresh again. */
CARREL_API void carrel_cancel_reset(struct carrel_cancel *cancel);
/* A descriptor that is readable once it is cancelled, for poll; it stays the library's. */
CARREL_API int carrel_cancel_fd(const struct carrel_cancel *cancel);
/* When no call uses it any more. NULL is fine. */
CARREL_API void carrel_cancel_free(struct carrel_cancel *cancel);

/* How a call is made. NULL for all defaults. */
struct carrel_call {
    /* How long the server may stay silent, neither taking nor giving a byte, until the call ends with
     * CARREL_TIMEOUT. 0: the client's (60 s); less: for ever. */
    int64_t timeout_ms;
    struct carrel_cancel *cancel; /* NULL: none */
    const char *user; /* as whom, for files and processes. NULL: the sandbox's default user */
};

/* Names and values, as in metadata and environment. Arrays of them end with a NULL name. */
struct carrel_pair {
    const char *name;
    const char *value;
};

/* ---- client ------------------------------------------------------------------------------------ */

/* A server, a key, and connections to it that are used again. */
struct carrel_client;

struct carrel_client_options {
    /* Each is looked for in this order: here; the environment (CARREL_API_KEY, E2B_API_KEY;
     * CARREL_API_URL, E2B_API_URL; CARREL_SANDBOX_URL, E2B_SANDBOX_URL); the files that a server on
     * this machine leaves for root, <run_dir>/url and <state_dir>/server/key. E2B_DOMAIN stands for
     * the address https://api.<domain>, if there is no other; SSL_CERT_FILE names whom to trust. */
    const char *api_key;
    const char *api_url;     /* such as "http://127.0.0.1:3000" */
    const char *sandbox_url; /* for the traffic of sandboxes; the default is api_url */
    const char *run_dir;     /* "/run/carrel" */
    const char *state_dir;   /* "/var/lib/carrel" */
    int64_t timeout_ms;      /* of calls that name none: 60 000; less than 0: none */
    const char *user_agent;  /* added to the library's own */
};

/* Connects to nothing yet. NULL: CARREL_UNAUTHENTICATED when no key is to be found, CARREL_INVALID
 * when an address makes no sense. */
CARREL_API struct carrel_client *carrel_client_new(const struct carrel_client_options *options,
                                                   struct carrel_error *err);
/* After all that came from it has been freed. NULL is fine. */
CARREL_API void carrel_client_free(struct carrel_client *client);
/* Where the control API is; as long as the client. */
CARREL_API const char *carrel_client_url(const struct carrel_client *client);
/* Any request to the control API: path as "/templates", body a JSON text or NULL. *ret is the
 * answer's text (free() it; "" when there is none) and may be NULL. */
CARREL_API int carrel_client_request(struct carrel_client *client, const char *method,
                                     const char *path, const char *body,
                                     const struct carrel_call *call, char **ret,
                                     struct carrel_error *err);

/* ---- sandboxes --------------------------------------------------------------------------------- */

/* A sandbox somewhere. Freeing the handle does not end the sandbox. */
struct carrel_sandbox;

struct carrel_sandbox_options {
    const char *template_name; /* "base" */
    int64_t timeout_s;         /* life from now on: 300 */
    const struct carrel_pair
        *metadata;                  /* shown in lists. "name" is what carrel_sandbox_find finds */
    const struct carrel_pair *envs; /* environment of every process in it */
    bool no_internet;               /* no connections to the outside */
    bool pause_at_end;              /* at the end of its life: paused instead of killed */
    bool wake_on_traffic;           /* with pause_at_end: traffic wakes it */
};

/* Makes one. Free the handle with carrel_sandbox_free. CARREL_NOT_FOUND: no such template. */
CARREL_API int carrel_sandbox_create(struct carrel_client *client,
                                     const struct carrel_sandbox_options *options,
                                     const struct carrel_call *call, struct carrel_sandbox **ret,
                                     struct carrel_error *err);
/* A handle of one that is there; wakes it if it is paused, and moves its end to timeout_s from now
 * (0: 300) if that is later. */
CARREL_API int carrel_sandbox_connect(struct carrel_client *client, const char *id,
                                      int64_t timeout_s, const struct carrel_call *call,
                                      struct carrel_sandbox **ret, struct carrel_error *err);
/* A handle of the one sandbox whose id is, or begins with, this text, or whose metadata "name" is it;
 * leaves it as it is, paused or not. CARREL_INVALID when there are several. */
CARREL_API int carrel_sandbox_find(struct carrel_client *client, const char *text,
                                   const struct carrel_call *call, struct carrel_sandbox **ret,
                                   struct carrel_error *err);
/* NULL is fine. After the processes and watches that came from it. */
CARREL_API void carrel_sandbox_free(struct carrel_sandbox *sandbox);

/* Its id; as long as the handle. */
CARREL_API const char *carrel_sandbox_id(const struct carrel_sandbox *sandbox);
/* Ends it with all that is in it. */
CARREL_API int carrel_sandbox_kill(struct carrel_sandbox *sandbox, const struct carrel_call *call,
                                   struct carrel_error *err);
/* Moves its end to timeout_s from now; 0 ends it. CARREL_CONFLICT: it is paused. */
CARREL_API int carrel_sandbox_set_timeout(struct carrel_sandbox *sandbox, int64_t timeout_s,
                                          const struct carrel_call *call, struct carrel_error *err);
/* Stops all its processes in place until it is connected to. CARREL_CONFLICT: it is paused. */
CARREL_API int carrel_sandbox_pause(struct carrel_sandbox *sandbox, const struct carrel_call *call,
                                    struct carrel_error *err);
/* As carrel_sandbox_connect, for a handle. */
CARREL_API int carrel_sandbox_resume(struct carrel_sandbox *sandbox, int64_t timeout_s,
                                     const struct carrel_call *call, struct carrel_error *err);
/* CARREL_OK when the sandbox answers, -CARREL_GONE when it has ended or is paused. */
CARREL_API int carrel_sandbox_check(struct carrel_sandbox *sandbox, const struct carrel_call *call,
                                    struct carrel_error *err);
/* A URL of a port of it for a browser, such as "http://8080-<id>.sbx.localhost:3000"; free() it. The
 * name resolves where *.localhost does; any HTTP client reaches the same with the API's address and the
 * headers E2b-Sandbox-Id and E2b-Sandbox-Port. */
CARREL_API char *carrel_sandbox_url(const struct carrel_sandbox *sandbox, unsigned port);

struct carrel_sandbox_info {
    const char *id;
    const char *template_id;
    const char *name;  /* metadata "name", or "" */
    const char *state; /* "running" or "paused" */
    int64_t started_ms;
    int64_t end_ms;
    int64_t cpu_count;
    int64_t memory_mb;
    int64_t disk_mb;
    const struct carrel_pair *metadata; /* ends with a NULL name */
};

struct carrel_sandbox_list {
    const struct carrel_sandbox_info *items;
    size_t count;
    void *memory; /* the library's */
};

struct carrel_sandbox_filter {
    const struct carrel_pair *metadata; /* all of these */
    const char *state;                  /* "running" or "paused"; NULL: both */
    const char *template_name;
    size_t max; /* 0: all */
};

/* The newest first. Empty with carrel_sandbox_list_done. */
CARREL_API int carrel_sandbox_list(struct carrel_client *client,
                                   const struct carrel_sandbox_filter *filter,
                                   const struct carrel_call *call, struct carrel_sandbox_list *ret,
                                   struct carrel_error *err);
/* A list with this sandbox as its only item. */
CARREL_API int carrel_sandbox_info(struct carrel_sandbox *sandbox, const struct carrel_call *call,
                                   struct carrel_sandbox_list *ret, struct carrel_error *err);
CARREL_API void carrel_sandbox_list_done(struct carrel_sandbox_list *list);

/* The newest measurement; all 0 while there is none. */
struct carrel_metrics {
    int64_t time_ms;
    double cpu_percent; /* of all its CPUs together, so 100 at most */
    int64_t cpu_count;
    int64_t memory_used, memory_total;
    int64_t disk_used, disk_total;
};
CARREL_API int carrel_sandbox_metrics(struct carrel_sandbox *sandbox,
                                      const struct carrel_call *call, struct carrel_metrics *ret,
                                      struct carrel_error *err);

/* ---- files ------------------------------------------------------------------------------------- */

/* Takes n bytes; 0 to go on, anything else ends the call with CARREL_CANCELED. */
typedef int carrel_sink_fn(void *arg, const void *bytes, size_t n);
/* Puts up to n bytes into p: the number, 0 at the end, or less to end the call with CARREL_CANCELED
 * (then nothing is written in the sandbox). */
typedef ssize_t carrel_source_fn(void *arg, void *p, size_t n);

/* A whole file, at most max bytes (0: 1 GiB; more is CARREL_LIMIT). *ret has a NUL behind it that is
 * not counted; free() it. */
CARREL_API int carrel_file_read(struct carrel_sandbox *sandbox, const char *path, size_t max,
                                const struct carrel_call *call, char **ret, size_t *ret_len,
                                struct carrel_error *err);
/* Into a descriptor, from where it stands. CARREL_LOCAL when it takes no more. */
CARREL_API int carrel_file_read_fd(struct carrel_sandbox *sandbox, const char *path, int fd,
                                   const struct carrel_call *call, struct carrel_error *err);
CARREL_API int carrel_file_read_to(struct carrel_sandbox *sandbox, const char *path,
                                   carrel_sink_fn *sink, void *arg, const struct carrel_call *call,
                                   struct carrel_error *err);

/* Writing makes missing directories and replaces the file at once when all of it has arrived; a call
 * that fails leaves what was there. */
CARREL_API int carrel_file_write(struct carrel_sandbox *sandbox, const char *path, const void *p,
                                 size_t n, const struct carrel_call *call,
                                 struct carrel_error *err);
/* From a descriptor, from where it stands to its end. */
CARREL_API int carrel_file_write_fd(struct carrel_sandbox *sandbox, const char *path, int fd,
                                    const struct carrel_call *call, struct carrel_error *err);
CARREL_API int carrel_file_write_from(struct carrel_sandbox *sandbox, const char *path,
                                      carrel_source_fn *source, void *arg,
                                      const struct carrel_call *call, struct carrel_error *err);

enum carrel_file_type {
    CARREL_FILE_OTHER, /* pipe, socket, device, or a link that leads nowhere */
    CARREL_FILE_REGULAR,
    CARREL_FILE_DIRECTORY,
};

struct carrel_entry {
    const char *name; /* bytes that are no UTF-8 are shown as U+FFFD */
    const char *path;
    const char *link;           /* where a symbolic link leads in the end; NULL: it is none */
    enum carrel_file_type type; /* of a link: what it leads to */
    int64_t size;
    unsigned mode;           /* permission bits */
    const char *permissions; /* such as "-rw-r--r--" */
    const char *owner;
    const char *group;
    int64_t modified_ms;
};

struct carrel_entry_list {
    const struct carrel_entry *items;
    size_t count;
    void *memory; /* the library's */
};
CARREL_API void carrel_entry_list_done(struct carrel_entry_list *list);

/* A list with one item. Links are not followed to find it. */
CARREL_API int carrel_file_stat(struct carrel_sandbox *sandbox, const char *path,
                                const struct carrel_call *call, struct carrel_entry_list *ret,
                                struct carrel_error *err);
/* A directory's content, down to `depth` levels (0: 1), in the order of a walk. */
CARREL_API int carrel_file_list(struct carrel_sandbox *sandbox, const char *path, unsigned depth,
                                const struct carrel_call *call, struct carrel_entry_list *ret,
                                struct carrel_error *err);
/* 1 or 0, or an error. */
CARREL_API int carrel_file_exists(struct carrel_sandbox *sandbox, const char *path,
                                  const struct carrel_call *call, struct carrel_error *err);
/* With missing parents. CARREL_EXISTS: it is there. */
CARREL_API int carrel_file_make_dir(struct carrel_sandbox *sandbox, const char *path,
                                    const struct carrel_call *call, struct carrel_error *err);
/* Replaces a file at `to`, never a directory. */
CARREL_API int carrel_file_move(struct carrel_sandbox *sandbox, const char *from, const char *to,
                                const struct carrel_call *call, struct carrel_error *err);
/* A file, or a directory with all in it. Not being there is no error. */
CARREL_API int carrel_file_remove(struct carrel_sandbox *sandbox, const char *path,
                                  const struct carrel_call *call, struct carrel_error *err);

/* ---- copies between here and a sandbox --------------------------------------------------------- */

struct carrel_transfer {
    /* Called now and then with what has been copied so far; total is 0 while it is not known. */
    void (*progress)(void *arg, int64_t bytes, int64_t files, int64_t total);
    void *arg;
};

/* A file or a directory to exactly the path `to`. A directory is put into a directory that is there
 * already file by file; anything else that is there is replaced. Downloads appear under their name
 * when they are complete and not before: a call that fails or is cancelled leaves no half file, and of a
 * new directory nothing. Modes and times come along; owners, devices, pipes and sockets do not.
 * Symbolic links come along as links, and nothing is ever written through one. */
CARREL_API int carrel_upload(struct carrel_sandbox *sandbox, const char *from, const char *to,
                             const struct carrel_transfer *transfer, const struct carrel_call *call,
                             struct carrel_error *err);
CARREL_API int carrel_download(struct carrel_sandbox *sandbox, const char *from, const char *to,
                               const struct carrel_transfer *transfer,
                               const struct carrel_call *call, struct carrel_error *err);

/* ---- watching ---------------------------------------------------------------------------------- */

struct carrel_watch;

enum carrel_change {
    CARREL_CHANGE_OTHER,
    CARREL_CHANGE_CREATE,
    CARREL_CHANGE_WRITE,
    CARREL_CHANGE_REMOVE,
    CARREL_CHANGE_RENAME, /* the old name; the new one is a CREATE */
    CARREL_CHANGE_CHMOD,
};

struct carrel_event {
    enum carrel_change change;
    const char *name; /* relative to the directory; until the next call */
};

struct carrel_watch_options {
    bool recursive;
    bool network_mounts; /* allow directories on network file systems */
    bool wait;           /* the directory need not be there yet */
};

/* Begins to watch a directory; from the return on no change goes unseen. CARREL_NOT_FOUND, or
 * CARREL_INVALID when it is no directory. */
CARREL_API int carrel_watch_start(struct carrel_sandbox *sandbox, const char *path,
                                  const struct carrel_watch_options *options,
                                  const struct carrel_call *call, struct carrel_watch **ret,
                                  struct carrel_error *err);
/* Waits up to timeout_ms (less than 0: as long as it takes) for a change: 0 and *ret, or
 * -CARREL_TIMEOUT, after which it may be called again. */
CARREL_API int carrel_watch_next(struct carrel_watch *watch, int64_t timeout_ms,
                                 struct carrel_event *ret, struct carrel_error *err);
CARREL_API void carrel_watch_free(struct carrel_watch *watch);
/* "create", "write", "remove", "rename", "chmod" or "other"; static. */
CARREL_API const char *carrel_change_name(enum carrel_change change);

/* ---- processes --------------------------------------------------------------------------------- */

enum carrel_stream {
    CARREL_STDOUT = 1,
    CARREL_STDERR = 2,
    CARREL_TERMINAL = 3,
};

/* Takes output; 0 to go on, anything else ends the call with CARREL_CANCELED (the process runs on). */
typedef int carrel_output_fn(void *arg, enum carrel_stream stream, const void *bytes, size_t n);

struct carrel_command {
    const struct carrel_pair *envs; /* added to the sandbox's environment */
    const char *cwd;                /* NULL: the user's home */
    const char *tag;                /* a name to attach by */
    bool open_stdin;                /* false: standard input is empty */
    int64_t time_limit_ms;          /* then it is killed. 0: none */
    unsigned columns, rows;         /* both given: it runs in a terminal of this size */
    /* Output that has been delivered is held in the sandbox, up to its bound, so that it can be had
     * again and a broken connection loses nothing. True gives that up. */
    bool forget_output;
    carrel_output_fn *on_output; /* carrel_run: called instead of collecting */
    void *arg;
    size_t
        max_output; /* carrel_run: bytes collected of each stream; more is CARREL_LIMIT. 0: 64 MiB */
};

struct carrel_exit {
    int code;         /* 0..255, or -1 when a signal ended it */
    int signal;       /* which, as in <signal.h>; 0: none, or none that is known here */
    char status[160]; /* such as "exit status 1", "signal: killed", "out of memory: ..." */
};

struct carrel_result {
    char *out; /* standard output and its length; a NUL is behind it */
    size_t out_len;
    char *err; /* standard error */
    size_t err_len;
    struct carrel_exit exit;
};

/* Runs a line of shell (/bin/bash -l -c) to its end. A status other than 0 is no error of the call.
 * CARREL_TIMEOUT when its time limit struck. Empty the result with carrel_result_done. */
CARREL_API int carrel_run(struct carrel_sandbox *sandbox, const char *line,
                          const struct carrel_command *command, const struct carrel_call *call,
                          struct carrel_result *ret, struct carrel_error *err);
CARREL_API void carrel_result_done(struct carrel_result *result);

/* A process in a sandbox and a stream of its output. A stream that breaks is taken up again where it
 * was, without a byte lost or doubled, as long as the sandbox holds the output. */
struct carrel_process;

/* Starts a program with its arguments (ending with NULL) and returns when it runs. A program that is
 * not there is an exit status of 127, as in a shell. */
CARREL_API int carrel_process_start(struct carrel_sandbox *sandbox, const char *const *argv,
                                    const struct carrel_command *command,
                                    const struct carrel_call *call, struct carrel_process **ret,
                                    struct carrel_error *err);

#define CARREL_UNREAD INT64_C(-1) /* what nobody has been given yet */
/* The output of a process that runs or ended within the last 30 seconds, from an offset in it (0: from
 * the beginning) or CARREL_UNREAD. */
CARREL_API int carrel_process_attach(struct carrel_sandbox *sandbox, unsigned pid, int64_t offset,
                                     const struct carrel_call *call, struct carrel_process **ret,
                                     struct carrel_error *err);
/* Lets go of it; it runs on. NULL is fine. */
CARREL_API void carrel_process_free(struct carrel_process *process);

/* As seen inside the sandbox. */
CARREL_API unsigned carrel_process_pid(const struct carrel_process *process);

struct carrel_output {
    enum carrel_stream stream;
    const char *bytes; /* until the next call */
    size_t len;
    uint64_t offset; /* of the first byte in all output of the process */
    uint64_t missed; /* bytes right before these that the sandbox could not hold */
};

/* Waits up to timeout_ms (less than 0: as long as it takes) for output: 1 and *ret; or 0 at the end
 * of the process, when carrel_process_exit tells how; or an error, of which CARREL_TIMEOUT is this
 * call's only. */
CARREL_API int carrel_process_next(struct carrel_process *process, int64_t timeout_ms,
                                   struct carrel_output *ret, struct carrel_error *err);
/* Reads to the end, giving the output to the callback, if there is one. */
CARREL_API int carrel_process_wait(struct carrel_process *process, carrel_output_fn *on_output,
                                   void *arg, struct carrel_exit *ret, struct carrel_error *err);
/* After carrel_process_next has returned 0; before that CARREL_CONFLICT. */
CARREL_API int carrel_process_exit(struct carrel_process *process, struct carrel_exit *ret,
                                   struct carrel_error *err);

/* These five go by the pid and need no stream. */

/* Into its standard input, or its terminal; returns when the sandbox has taken all of it. */
CARREL_API int carrel_process_write(struct carrel_process *process, const void *p, size_t n,
                                    const struct carrel_call *call, struct carrel_error *err);
CARREL_API int carrel_process_close_stdin(struct carrel_process *process,
                                          const struct carrel_call *call, struct carrel_error *err);
CARREL_API int carrel_process_resize(struct carrel_process *process, unsigned columns,
                                     unsigned rows, const struct carrel_call *call,
                                     struct carrel_error *err);
/* number as in <signal.h>. group: to all processes of its group. */
CARREL_API int carrel_process_signal(struct carrel_process *process, int number, bool group,
                                     const struct carrel_call *call, struct carrel_error *err);
CARREL_API int carrel_sandbox_signal(struct carrel_sandbox *sandbox, unsigned pid, int number,
                                     bool group, const struct carrel_call *call,
                                     struct carrel_error *err);

struct carrel_process_info {
    unsigned pid;
    const char *tag;         /* or "" */
    const char *const *argv; /* ends with NULL */
    const char *cwd;         /* or "" */
};

struct carrel_process_list {
    const struct carrel_process_info *items;
    size_t count;
    void *memory; /* the library's */
};

/* The running processes that were started through the API. */
CARREL_API int carrel_process_list(struct carrel_sandbox *sandbox, const struct carrel_call *call,
                                   struct carrel_process_list *ret, struct carrel_error *err);
CARREL_API void carrel_process_list_done(struct carrel_process_list *list);

/* ---- code -------------------------------------------------------------------------------------- */

enum carrel_code_event {
    CARREL_CODE_STDOUT, /* text */
    CARREL_CODE_STDERR, /* text */
    CARREL_CODE_RESULT, /* text: the result as a JSON object by format: "text", "html", "png", ... */
    CARREL_CODE_ERROR,  /* text: the traceback */
};

struct carrel_code_options {
    const char *language;           /* "python" */
    const char *context_id;         /* instead of language: the variables of an earlier call */
    const struct carrel_pair *envs; /* for this run */
    /* Called as things happen. 0 to go on; anything else interrupts the code. */
    int (*on_event)(void *arg, enum carrel_code_event event, const char *text, size_t n);
    void *arg;
    size_t max_output; /* bytes of each member of the execution; more is CARREL_LIMIT. 0: 64 MiB */
};

struct carrel_execution {
    char *out; /* what it printed; "" if nothing */
    char *err;
    char *results;    /* a JSON array of all results */
    char *text;       /* of the last expression's value, or NULL */
    char *error_name; /* of an exception, such as "ValueError"; NULL: there was none */
    char *error_value;
    char *traceback;
    int64_t count; /* number of the execution in its context */
};

/* Runs code in the sandbox's interpreter (template "code-interpreter-v1"), where variables stay from
 * call to call. An exception in the code is no error of the call. Ending the call early interrupts the
 * code. Empty the execution with carrel_execution_done. */
CARREL_API int carrel_run_code(struct carrel_sandbox *sandbox, const char *code,
                               const struct carrel_code_options *options,
                               const struct carrel_call *call, struct carrel_execution *ret,
                               struct carrel_error *err);
CARREL_API void carrel_execution_done(struct carrel_execution *execution);

/* A context of its own: variables apart from those of others. *ret_id is to be freed with free(). */
CARREL_API int carrel_context_create(struct carrel_sandbox *sandbox, const char *language,
                                     const char *cwd, const struct carrel_call *call, char **ret_id,
                                     struct carrel_error *err);
CARREL_API int carrel_context_remove(struct carrel_sandbox *sandbox, const char *id,
                                     const struct carrel_call *call, struct carrel_error *err);
/* Same id, nothing in it. */
CARREL_API int carrel_context_restart(struct carrel_sandbox *sandbox, const char *id,
                                      const struct carrel_call *call, struct carrel_error *err);

#ifdef __cplusplus
}
#endif
