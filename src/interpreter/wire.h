/* SPDX-License-Identifier: Apache-2.0 */
/* Jupyter's messages (protocol 5.3) over ZeroMQ sockets: signed, checked, in parts. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/str.h"

enum { WIRE_ID_SIZE = 33, WIRE_KEY_SIZE = 65 };

struct wire_session {
    char id[WIRE_ID_SIZE];
    char key[WIRE_KEY_SIZE];
};

struct wire_message {
    json_t *header;
    json_t *parent; /* header of what this answers, or an empty object */
    json_t *content;
};

/* A new identity and signing key. */
void wire_session_init(struct wire_session *s);
/* Sends a request; takes metadata and content over. ret_id gets the message's id. 0 or -errno. */
int wire_send(void *socket, const struct wire_session *s, const char *type, json_t *metadata,
              json_t *content, char ret_id[WIRE_ID_SIZE]);
/* One message without waiting: 1, 0 when there is none, -EBADMSG for one that is malformed or not
 * signed with our key (skip it), or -errno. */
int wire_receive(void *socket, const struct wire_session *s, struct wire_message *ret);
void wire_message_done(struct wire_message *m);

const char *wire_type(const struct wire_message *m);
/* Whether it answers the request of this id. */
bool wire_answers(const struct wire_message *m, const char *id);
