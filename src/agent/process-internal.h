/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a process, shared by process.c (table, life), process_output.c (pipes, readers) and
 * process_input.c (what is written to it). */
#pragma once

#include "agent/process.h"

/* One of our descriptors of a process, watched by the loop. */
struct process_channel {
    struct process *process;
    uv_poll_t poll;
    int fd; /* -1: closed */
    enum spool_kind kind;
    /* Output only: */
    char carry[4]; /* beginning of a character whose rest has not come */
    uint8_t carry_len;
    bool draining; /* read this much more and no further */
    size_t drain;
};

struct process_queued {
    struct process_queued *next;
    char *bytes;
    size_t len, written;
    process_input_fn *done;
    void *arg;
};

struct process {
    struct process_table *table;
    struct process *hash_next;
    struct process *next, *previous; /* in the table's list of live or of finished ones */
    struct process_config config;
    pid_t pid;
    int pidfd;
    uv_poll_t pid_poll;
    uv_timer_t deadline;
    uv_timer_t flush; /* of carried bytes when the process pauses inside a character */
    unsigned handles; /* libuv's, not yet closed */

    struct process_channel in, out, err;
    struct process_queued *queue, **queue_tail;
    size_t queue_bytes;
    bool close_in; /* when the queue has been written */

    struct spool spool;
    uint64_t delivered; /* output before this offset has been given to some reader */
    struct process_reader *readers;

    bool pty;
    bool throttled; /* pipes are not watched */
    bool reaped;
    bool forsaken; /* its pipes are not waited for */
    bool ended;
    bool timed_out;
    bool forgotten; /* out of the table; freed with the last reader and handle */
    int end_code;   /* si_code and si_status */
    int end_status;
    uint64_t ended_at; /* loop time */
};

/* process.c */
void process_handle_closed(uv_handle_t *handle); /* handle->data is the process */
void process_settle(struct process *p);          /* ends it if all conditions are met */
void process_free_if_unused(struct process *p);

/* process_output.c */
int process_channel_open(struct process *p, struct process_channel *c, int fd,
                         enum spool_kind kind);
void process_channel_close(struct process_channel *c);
void process_output_watch(struct process *p);
void process_output_drain(struct process_channel *c);
void process_output_flush(struct process *p);
void process_wake_readers(struct process *p);

/* process_input.c */
void process_input_fail(struct process *p, int status);
