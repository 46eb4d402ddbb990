/* A board for tests: two flywheels behind a line, the first with a motor. Runs until the line ends.
 *
 * Usage: mcu_board DESCRIPTOR, open for reading and writing.
 */
#define _POSIX_C_SOURCE 200809L
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "wombet_loop.h"

#define TURN_MS 1
#define MRAD_S_PER_MA_MS 0.05 /* how a current speeds a flywheel up in a millisecond */

static const struct wombet_board BOARD = {
    .model = 7, .firmware = 102, .motors = 1, .channels = 2,
    .current_max_ma = 1000, .damping_ma_s_rad = 200,
};

static int line;
static double position_10urad[2], velocity_mrad_s[2];
static int16_t current_ma[2];

uint32_t board_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u);
}

uint16_t board_sense(struct wombet_sample *samples)
{
    for (int i = 0; i < 2; i++) {
        samples[i].position_10urad = (int32_t)position_10urad[i];
        samples[i].velocity_mrad_s = (int32_t)velocity_mrad_s[i];
        samples[i].current_ma = current_ma[i];
        samples[i].temperature_c = 31;
    }
    return 5000;
}

void board_drive(uint8_t channel, int16_t current)
{
    current_ma[channel] = current;
    velocity_mrad_s[channel] += MRAD_S_PER_MA_MS * current * TURN_MS;
    position_10urad[channel] += 0.1 * velocity_mrad_s[channel] * TURN_MS;
}

bool board_receive(uint8_t *byte)
{
    struct pollfd waiting = {.fd = line, .events = POLLIN};
    return poll(&waiting, 1, 0) > 0 && read(line, byte, 1) == 1;
}

void board_send(const uint8_t *data, size_t size)
{
    if (write(line, data, size) != (ssize_t)size) {
        exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv)
{
    struct wombet_node node;
    struct timespec pause = {.tv_nsec = TURN_MS * 1000000};
    line = argc == 2 ? atoi(argv[1]) : STDIN_FILENO;
    wombet_init(&node, &BOARD);
    for (;;) {
        wombet_turn(&node);
        nanosleep(&pause, NULL);
    }
}
