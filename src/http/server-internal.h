/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside the server: connections (conn.c), exchanges and responses (respond.c), request
 * bodies (body.c), listening (server.c). One connection carries one exchange at a time. */
#pragma once

#include <sys/queue.h>

#include "http/loop.h"
#include "http/parser.h"
#include "http/server.h"

/* Unread body worth reading to keep the connection; beyond: close. */
enum { HTTP_SKIP_MAX = 1024 * 1024 };

enum body_state {
    BODY_UNREAD,  /* head is there, nobody asked for the body yet */
    BODY_READING, /* pieces go to the handler */
    BODY_PAUSED,
    BODY_SKIPPING, /* response is over, the rest of the body is thrown away */
    BODY_DONE,
};

enum response_state { RESPONSE_NONE, RESPONSE_STARTED, RESPONSE_ENDED };

struct http_exchange {
    struct http_conn *conn;
    struct http_request request;
    const struct http_exchange_events *events;
    void *arg;

    enum body_state body;
    const struct http_body_events *body_events;
    void *body_arg;
    struct body_collector *collector;

    size_t skipped;

    enum response_state response;
    struct buf headers; /* fields added before the response starts */
    int64_t length;     /* as given to http_respond_start */
    int64_t remaining;  /* of a known length, not yet written */
    bool head_request;
    bool until_close; /* HTTP/1.0: unknown lengths end with the connection */
    bool broken;      /* peer gone or aborted */
    bool abort;       /* cut the connection when the turn ends */
    bool taken;       /* the raw stream has been taken */
    int file;         /* being sent, or -1 */
    off_t file_at;
    int64_t file_left;
};

struct http_conn {
    struct http_server *server;
    TAILQ_ENTRY(http_conn) link;
    struct stream *stream; /* NULL once closed or taken */
    struct parser *parser;
    struct buf in;                  /* received, not yet parsed */
    struct buf out;                 /* written, not yet taken by the socket */
    uint64_t taken;                 /* by the socket, so far */
    struct http_exchange *exchange; /* NULL between requests */
    struct http_task task;          /* deferred: conn_settle */
    uv_timer_t timer;
    bool eof;         /* the peer sends no more */
    bool close_after; /* close when the present exchange is over */
    bool settling;    /* conn_settle is on the stack */
    bool was_queued;  /* out or file was not empty: report drained when it is */
    bool poke;        /* feed the parser even without new bytes: reading was begun or resumed */
    bool head_begun;  /* some bytes of the next request have come */
    bool served;      /* has had a request */
    bool linger;      /* close gently: unread bytes may be in the socket */
    bool lingering;
    bool closing;
};

TAILQ_HEAD(http_conn_list, http_conn);

/* A connection that carries none of the above, or several: edge.c, h2.c. */
struct http_guest {
    TAILQ_ENTRY(http_guest) link;
    void (*stop)(struct http_guest *guest);  /* end when what runs has ended */
    void (*close)(struct http_guest *guest); /* end now; calls server_guest_gone */
};
TAILQ_HEAD(http_guest_list, http_guest);

struct http_server {
    uv_loop_t *loop;
    uv_poll_t listener;
    int listen_fd;
    struct http_server_options options;
    struct http_conn_list conns;
    struct http_guest_list guests;
    unsigned conn_count; /* of both */
    size_t collected;    /* bytes of bodies being collected */
    bool listening; /* the poll handle is started */
    bool stopping;
    bool closing;
    bool listener_closed;
};

/* Given to http_server_options: how a connection begins. accept takes the stream over. */
struct http_edge {
    void (*accept)(struct http_edge *edge, struct http_server *server, struct stream *stream);
};

/* server.c */
void server_conn_gone(struct http_server *server);
void server_guest_new(struct http_server *server, struct http_guest *guest);
void server_guest_gone(struct http_server *server, struct http_guest *guest);

/* conn.c: takes the stream over. */
void conn_open(struct http_server *server, struct stream *stream);
/* Asks for conn_settle at the end of the turn. */
void conn_wake(struct http_conn *conn);
void conn_close(struct http_conn *conn);
/* Whether nothing is being answered on it. */
/* No more requests after those that are there or on their way. */
void conn_stop(struct http_conn *conn);
bool conn_idle(const struct http_conn *conn);

/* body.c: hands one piece to the reader; false: pause. */
bool body_piece(struct http_exchange *x, const char *p, size_t n);
void body_ended(struct http_exchange *x, int status);
void body_done(struct http_exchange *x);

/* respond.c */
/* Writes what is queued as far as the socket takes it. False: the connection is broken. */
bool respond_flush(struct http_conn *conn);
bool respond_has_queued(const struct http_conn *conn);
/* Answers a request that could not be parsed, without a handler. */
void respond_parse_error(struct http_conn *conn, int status, const char *message);
