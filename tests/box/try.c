/* SPDX-License-Identifier: Apache-2.0 */
/* For trying things by hand: makes one sandbox, sends each line of standard input to its agent and
 * prints the answers. box-try INIT [TEMPLATES NAME]; BOX_LOG=1 and BOX_STDERR=1 show more. */
#include <stdio.h>

#include "harness.h"

int main(int argc, char **argv)
{
    static struct harness h;
    if (argc < 2)
        return 2;
    harness_open(&h, argv[1]);
    if (argc > 3)
        h.options.templates_dir = argv[2];
    if (!harness_start(&h))
        return 1;
    struct launcher_reply reply = harness_create(&h, "first", argc > 3 ? argv[3] : "tiny");
    printf("create: code %u %s\n", reply.code, reply.message);
    char line[4096];
    while (!reply.code && fgets(line, sizeof line, stdin)) {
        const char *answer = harness_ask(&h, "first", line);
        printf("> %s%s\n", line, answer ? answer : "no answer");
    }
    harness_call(&h, LAUNCHER_DESTROY, "first");
    printf("clean: %s\n", harness_clean(&h) ? "yes" : "NO");
    harness_close(&h);
    return 0;
}
