/* The node's end of the microcontroller link, version 1: frames in, frames out, currents to drive.
 *
 * C99, no allocation, nothing of libc but string.h. Time is an argument; nothing here does I/O.
 * The layout of the bytes is described in protocol/mcu_link.py, which is the host's end.
 */
#ifndef WOMBET_LINK_H
#define WOMBET_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WOMBET_VERSION 1u
#define WOMBET_CHANNELS_MAX 16u
#define WOMBET_BODY_MAX 253u
#define WOMBET_FRAME_MAX (WOMBET_BODY_MAX + 3u) /* a code byte and two delimiters */
#define WOMBET_DEADLINE_MAX_MS 2550u

/* What the board is. Bit n of motors tells whether channel n has one; at most
 * WOMBET_CHANNELS_MAX channels. */
struct wombet_board {
    uint16_t model;
    uint16_t firmware;
    uint16_t motors;
    uint8_t channels;
    int16_t current_max_ma;    /* of each motor, whatever the host asks for */
    uint16_t damping_ma_s_rad; /* how a stop brakes: current against the speed */
};

/* What one channel's sensors see, in the motor's own direction. A fault takes the torque away. */
struct wombet_sample {
    int32_t position_10urad;
    int32_t velocity_mrad_s;
    int16_t current_ma;
    uint8_t temperature_c;
    uint8_t fault;
};

/* All there is to remember; treat it as opaque. */
struct wombet_node {
    const struct wombet_board *board;
    struct wombet_sample sample[WOMBET_CHANNELS_MAX];
    int16_t goal_ma[WOMBET_CHANNELS_MAX];
    int16_t limit_ma;
    uint16_t supply_mv;
    uint16_t deadline_ms;
    uint16_t sequence;
    uint32_t heard_ms;
    bool begun;
    bool powered;
    bool stopped;
    bool overlong;
    size_t length;
    uint8_t line[WOMBET_BODY_MAX + 1u];
};

/* As after a power cycle: no torque. The board must outlive the node. */
void wombet_init(struct wombet_node *node, const struct wombet_board *board);

/* Take what the sensors see, one sample per channel. */
void wombet_sense(struct wombet_node *node, const struct wombet_sample *samples,
                  uint16_t supply_mv);

/* Take one byte from the host. Returns how many bytes of answer are to be sent, mostly none. */
size_t wombet_hear(struct wombet_node *node, uint8_t byte, uint32_t now_ms,
                   uint8_t answer[WOMBET_FRAME_MAX]);

/* Time has passed: a deadline may have. Milliseconds may wrap around. */
void wombet_elapse(struct wombet_node *node, uint32_t now_ms);

/* What is to flow through the motor of a channel now. */
int16_t wombet_current_ma(const struct wombet_node *node, uint8_t channel);

/* CRC-32 as zlib computes it. */
uint32_t wombet_crc32(const uint8_t *data, size_t size);

#endif
