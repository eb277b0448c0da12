/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "harness.h"
int main(int argc, char **argv)
{
    static struct harness h;
    harness_open(&h, argv[1]);
    if (argc > 2) { h.options.templates_dir = argv[2]; }
    if (!harness_start(&h)) { printf("launcher did not start\n"); return 1; }
    struct launcher_reply r = harness_create(&h, "first", argc > 2 ? argv[3] : "tiny");
    printf("create: code %u os %d %s pid %d\n", r.code, r.os, r.message, r.pid);
    if (!r.code) {
        char line[4096];
        while (printf("> "), fflush(stdout), fgets(line, sizeof line, stdin)) {
            const char *a = harness_ask(&h, "first", line);
            printf("%s", a ? a : "(null)\n");
        }
        r = harness_call(&h, LAUNCHER_DESTROY, "first");
        printf("destroy: code %u %s\n", r.code, r.message);
    }
    printf("clean: %d\n", harness_clean(&h));
    harness_close(&h);
}
