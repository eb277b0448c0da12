/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of carrel-probe. */
    .section .rodata
    .balign 4096
    .globl embedded_probe
    .hidden embedded_probe
    .globl embedded_probe_end
    .hidden embedded_probe_end
embedded_probe:
    .incbin PROBE
embedded_probe_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
