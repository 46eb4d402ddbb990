#include "wombet_link.h"

#include <string.h>

enum { HELLO = 0x01, READ = 0x02, COMMAND = 0x03, POWER = 0x04, IDENTITY = 0x81, STATE = 0x82 };
enum { POWERED = 1, STOPPED = 2 };
enum { HEAD_BYTES = 4, CRC_BYTES = 4, POWER_BYTES = 5, COMMAND_BYTES = 3 };

#define CRC_POLYNOMIAL 0xEDB88320u

/* Little-endian numbers. */

static uint16_t get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static int16_t get_i16(const uint8_t *at)
{
    uint16_t raw = get_u16(at);
    return (int16_t)(raw < 0x8000u ? (int32_t)raw : (int32_t)raw - 0x10000);
}

static uint8_t *put_u8(uint8_t *at, uint8_t value)
{
    *at = value;
    return at + 1;
}

static uint8_t *put_u16(uint8_t *at, uint16_t value)
{
    at = put_u8(at, (uint8_t)(value & 0xFFu));
    return put_u8(at, (uint8_t)(value >> 8));
}

static uint8_t *put_u32(uint8_t *at, uint32_t value)
{
    at = put_u16(at, (uint16_t)(value & 0xFFFFu));
    return put_u16(at, (uint16_t)(value >> 16));
}

uint32_t wombet_crc32(const uint8_t *data, size_t size)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1u) ? CRC_POLYNOMIAL : 0u);
        }
    }
    return ~crc;
}

/* Frames. */

/* Stuffs a body, between two delimiters; returns how many bytes that makes. */
static size_t stuff(const uint8_t *body, size_t size, uint8_t *frame)
{
    size_t code_at = 1, at = 2;
    frame[0] = 0;
    for (size_t i = 0; i < size; i++) {
        if (body[i] == 0) {
            frame[code_at] = (uint8_t)(at - code_at);
            code_at = at++;
        } else {
            frame[at++] = body[i];
        }
    }
    frame[code_at] = (uint8_t)(at - code_at);
    frame[at++] = 0;
    return at;
}

/* Undoes it in place, without delimiters; returns the size of the body, 0 if this is none. */
static size_t unstuff(uint8_t *line, size_t length)
{
    size_t from = 0, to = 0;
    while (from < length) {
        size_t code = line[from];
        if (code == 0xFFu || from + code > length) {
            return 0;
        }
        memmove(line + to, line + from + 1, code - 1);
        to += code - 1;
        from += code;
        if (from < length) {
            line[to++] = 0;
        }
    }
    return to;
}

/* Adds head and CRC to what lies behind the head of a body, and stuffs it. */
static size_t seal(uint8_t *body, const uint8_t *end, uint8_t kind, uint16_t sequence,
                   uint8_t *frame)
{
    size_t size = (size_t)(end - body);
    put_u16(put_u8(put_u8(body, WOMBET_VERSION), kind), sequence);
    put_u32(body + size, wombet_crc32(body, size));
    return stuff(body, size + CRC_BYTES, frame);
}

static bool is_sound(const uint8_t *body, size_t size)
{
    if (size < HEAD_BYTES + CRC_BYTES) {
        return false;
    }
    uint8_t crc[CRC_BYTES];
    put_u32(crc, wombet_crc32(body, size - CRC_BYTES));
    return memcmp(crc, body + size - CRC_BYTES, CRC_BYTES) == 0;
}

static size_t answer_identity(const struct wombet_node *node, uint16_t sequence, uint8_t *frame)
{
    const struct wombet_board *board = node->board;
    uint8_t body[WOMBET_BODY_MAX];
    uint8_t *at = put_u16(body + HEAD_BYTES, board->model);
    at = put_u16(at, board->firmware);
    at = put_u16(at, board->motors);
    at = put_u8(at, board->channels);
    return seal(body, at, IDENTITY, sequence, frame);
}

static uint8_t *put_channel(uint8_t *at, const struct wombet_sample *sample, int16_t goal_ma)
{
    at = put_u32(at, (uint32_t)sample->position_10urad);
    at = put_u32(at, (uint32_t)sample->velocity_mrad_s);
    at = put_u16(at, (uint16_t)sample->current_ma);
    at = put_u16(at, (uint16_t)goal_ma);
    at = put_u8(at, sample->temperature_c);
    return put_u8(at, sample->fault);
}

static size_t answer_state(const struct wombet_node *node, uint16_t sequence, uint8_t *frame)
{
    uint8_t body[WOMBET_BODY_MAX];
    int flags = (node->powered ? POWERED : 0) | (node->stopped ? STOPPED : 0);
    uint8_t *at = put_u8(body + HEAD_BYTES, (uint8_t)flags);
    at = put_u8(at, node->board->channels);
    at = put_u16(at, node->deadline_ms);
    at = put_u16(at, node->sequence);
    at = put_u16(at, node->supply_mv);
    for (uint8_t i = 0; i < node->board->channels; i++) {
        at = put_channel(at, &node->sample[i], node->goal_ma[i]);
    }
    return seal(body, at, STATE, sequence, frame);
}

/* Orders. */

static int16_t limited(int64_t current_ma, int16_t limit_ma)
{
    if (current_ma > limit_ma) {
        return limit_ma;
    }
    return (int16_t)(current_ma < -limit_ma ? -limit_ma : current_ma);
}

static bool has_motor(const struct wombet_node *node, uint8_t channel)
{
    return (node->board->motors >> channel & 1) != 0;
}

static bool is_newer(const struct wombet_node *node, uint16_t sequence)
{
    uint16_t ahead = (uint16_t)(sequence - node->sequence);
    return !node->begun || (ahead > 0 && ahead < 0x8000u);
}

static bool is_deadline(uint16_t deadline_ms)
{
    return deadline_ms > 0 && deadline_ms <= WOMBET_DEADLINE_MAX_MS;
}

static bool is_faulty(const struct wombet_node *node)
{
    for (uint8_t i = 0; i < node->board->channels; i++) {
        if (node->sample[i].fault != 0) {
            return true;
        }
    }
    return false;
}

static void power_off(struct wombet_node *node)
{
    node->powered = node->stopped = false;
    node->deadline_ms = 0;
    memset(node->goal_ma, 0, sizeof node->goal_ma);
}

static void obey_power(struct wombet_node *node, const uint8_t *payload, uint16_t sequence,
                       uint32_t now_ms)
{
    uint16_t deadline_ms = get_u16(payload + 1), limit_ma = get_u16(payload + 3);
    if (payload[0] == 0) {
        power_off(node);
        return;
    }
    if (payload[0] > 1 || !is_newer(node, sequence) || !is_deadline(deadline_ms) ||
        is_faulty(node)) {
        return;
    }
    power_off(node);
    node->begun = node->powered = true;
    node->sequence = sequence;
    node->deadline_ms = deadline_ms;
    node->heard_ms = now_ms;
    node->limit_ma = limited(limit_ma, node->board->current_max_ma);
}

static void obey_command(struct wombet_node *node, const uint8_t *payload, size_t size,
                         uint16_t sequence, uint32_t now_ms)
{
    uint8_t channels = node->board->channels;
    if (size != COMMAND_BYTES + 2u * channels || payload[2] != channels) {
        return;
    }
    uint16_t deadline_ms = get_u16(payload);
    if (!node->powered || node->stopped || !is_newer(node, sequence) ||
        !is_deadline(deadline_ms)) {
        return;
    }
    node->sequence = sequence;
    node->deadline_ms = deadline_ms;
    node->heard_ms = now_ms;
    for (uint8_t i = 0; i < channels; i++) {
        int16_t goal_ma = get_i16(payload + COMMAND_BYTES + 2u * i);
        node->goal_ma[i] = has_motor(node, i) ? limited(goal_ma, node->limit_ma) : 0;
    }
}

/* A sound body; returns the size of the answer. */
static size_t obey(struct wombet_node *node, const uint8_t *body, size_t size, uint32_t now_ms,
                   uint8_t *answer)
{
    const uint8_t *payload = body + HEAD_BYTES;
    uint16_t sequence = get_u16(body + 2);
    size -= HEAD_BYTES + CRC_BYTES;
    if (body[1] == HELLO && size == 0) { /* of any version: the answer tells ours */
        power_off(node);
        node->begun = false;
        node->sequence = 0;
        return answer_identity(node, sequence, answer);
    }
    if (body[0] != WOMBET_VERSION) {
        return 0;
    }
    if (body[1] == COMMAND) {
        obey_command(node, payload, size, sequence, now_ms);
        return 0;
    }
    if (body[1] == POWER && size == POWER_BYTES) {
        obey_power(node, payload, sequence, now_ms);
        return answer_state(node, sequence, answer);
    }
    return body[1] == READ && size == 0 ? answer_state(node, sequence, answer) : 0;
}

/* The node. */

void wombet_init(struct wombet_node *node, const struct wombet_board *board)
{
    memset(node, 0, sizeof *node);
    node->board = board;
}

void wombet_sense(struct wombet_node *node, const struct wombet_sample *samples,
                  uint16_t supply_mv)
{
    memcpy(node->sample, samples, node->board->channels * sizeof *samples);
    node->supply_mv = supply_mv;
    if (is_faulty(node)) {
        power_off(node);
    }
}

size_t wombet_hear(struct wombet_node *node, uint8_t byte, uint32_t now_ms,
                   uint8_t answer[WOMBET_FRAME_MAX])
{
    wombet_elapse(node, now_ms);
    if (byte != 0) {
        node->overlong = node->overlong || node->length == sizeof node->line;
        if (!node->overlong) {
            node->line[node->length++] = byte;
        }
        return 0;
    }
    size_t size = node->overlong ? 0 : unstuff(node->line, node->length);
    node->length = 0;
    node->overlong = false;
    return is_sound(node->line, size) ? obey(node, node->line, size, now_ms, answer) : 0;
}

void wombet_elapse(struct wombet_node *node, uint32_t now_ms)
{
    if (node->powered && now_ms - node->heard_ms > node->deadline_ms && !node->stopped) {
        node->stopped = true;
        memset(node->goal_ma, 0, sizeof node->goal_ma);
    }
}

int16_t wombet_current_ma(const struct wombet_node *node, uint8_t channel)
{
    if (!node->powered || !has_motor(node, channel)) {
        return 0;
    }
    if (!node->stopped) {
        return node->goal_ma[channel];
    }
    int64_t against = -(int64_t)node->sample[channel].velocity_mrad_s;
    return limited(against * node->board->damping_ma_s_rad / 1000, node->limit_ma);
}
