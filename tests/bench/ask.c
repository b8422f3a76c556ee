/* Asks what dnsperf cannot: at a fixed rate with the time of each answer, with a header before each query (PROXY v2),
   and with every answer looked into.

   Usage: ask PORT SOURCE FILE RATE SECONDS HEADER
   RATE: queries a second; 0: as many as come back, WINDOW in flight. HEADER: octets before the DNS message.
   FILE: each question as its length (2 octets), the address that its answer must carry (4; 0.0.0.0: any answer will
   do) and its octets, the id 0. Each is asked once.

   Prints JSON: asked, answered, wrong, late (sent more than LATE_NS after its time), and p50, p99, most: microseconds
   from the time at which a query was due, so that a pause of the server is seen by all queries that it kept waiting. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <time.h>

enum { WINDOW = 500, VECTOR = 64, OCTETS = 4096, BUFFER = 4 << 20, IDS = 65536, LATE_NS = 100000 };
static const uint64_t SECOND = 1000000000, PATIENCE = 1000000000;

struct question {
    unsigned char *octets, *address;
    int length;
};

static struct question *questions, *in_flight[IDS];
static uint64_t due_at[IDS];
static uint32_t *took;
static uint64_t asked, answered, wrong, late;
static int header, count_of_questions;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

static int read_questions(const char *path)
{
    struct stat facts;
    int file = open(path, O_RDONLY);

    if (file < 0 || fstat(file, &facts) || facts.st_size == 0)
        return -1;
    /* Private and writable: each question gets its id in place. */
    unsigned char *data = mmap(NULL, facts.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (data == MAP_FAILED)
        return -1;
    questions = calloc(facts.st_size / 6, sizeof *questions);
    took = calloc(facts.st_size / 6, sizeof *took);
    for (off_t at = 0; at + 6 < facts.st_size; at += 6 + questions[count_of_questions++].length)
        questions[count_of_questions] = (struct question){
            .length = data[at] << 8 | data[at + 1], .address = data + at + 2, .octets = data + at + 6};
    return 0;
}

static int is_right(const struct question *one, const unsigned char *reply, int length)
{
    static const unsigned char any[4];
    unsigned char record[6] = {0, 4};
    int asked_octets = one->length - header;
    int end = 12;

    if (length < 12 || !(reply[2] & 0x80) || reply[3] & 15)
        return 0;
    if (!memcmp(one->address, any, 4))
        return 1;
    while (end < asked_octets && one->octets[header + end])
        end += one->octets[header + end] + 1;
    end += 5;
    if (length < end || memcmp(reply + 12, one->octets + header + 12, end - 12))
        return 0;
    memcpy(record + 2, one->address, 4);
    return memmem(reply + end, length - end, record, sizeof record) != NULL;
}

static void take(int udp)
{
    static unsigned char data[VECTOR][OCTETS];
    static struct iovec parts[VECTOR];
    static struct mmsghdr messages[VECTOR];

    for (int i = 0; i < VECTOR; i++) {
        parts[i] = (struct iovec){.iov_base = data[i], .iov_len = OCTETS};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(udp, messages, VECTOR, MSG_DONTWAIT, NULL);
    uint64_t now = now_ns();
    for (int i = 0; i < count; i++) {
        int id = data[i][0] << 8 | data[i][1];
        if (!in_flight[id])
            continue;
        wrong += !is_right(in_flight[id], data[i], messages[i].msg_len);
        took[answered++] = (now - due_at[id]) / 1000;
        in_flight[id] = NULL;
    }
}

static void give(int udp, int count, uint64_t now, uint64_t due, uint64_t apart)
{
    static struct iovec parts[VECTOR];
    static struct mmsghdr messages[VECTOR];

    for (int i = 0; i < count; i++, asked++, due += apart) {
        struct question *one = &questions[asked];
        int id = asked % IDS;
        one->octets[header] = id >> 8;
        one->octets[header + 1] = id;
        in_flight[id] = one;
        due_at[id] = apart ? due : now;
        late += now - due_at[id] > LATE_NS;
        parts[i] = (struct iovec){.iov_base = one->octets, .iov_len = one->length};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    for (int sent = 0; sent < count;) {
        int more = sendmmsg(udp, messages + sent, count - sent, 0);
        sent += more > 0 ? more : 1;
    }
}

static int by_size(const void *one, const void *other)
{
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    struct sockaddr_in here = {.sin_family = AF_INET}, there = {.sin_family = AF_INET};
    int buffer = BUFFER, udp = socket(AF_INET, SOCK_DGRAM, 0);

    if (argc != 7 || read_questions(argv[3])) {
        fputs("usage: ask PORT SOURCE FILE RATE SECONDS HEADER\n", stderr);
        return 2;
    }
    there.sin_port = htons(atoi(argv[1]));
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    inet_pton(AF_INET, argv[2], &here.sin_addr);
    header = atoi(argv[6]);
    setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(udp, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    if (bind(udp, (struct sockaddr *)&here, sizeof here) || connect(udp, (struct sockaddr *)&there, sizeof there)) {
        perror("ask");
        return 1;
    }
    uint64_t rate = strtoull(argv[4], NULL, 10), apart = rate ? SECOND / rate : 0;
    uint64_t began = now_ns(), end = began + (uint64_t)(atof(argv[5]) * SECOND), now = began;
    for (; now < end && asked < (uint64_t)count_of_questions; now = now_ns()) {
        uint64_t wanted = rate ? (now - began) / apart + 1 : answered + WINDOW;
        if (wanted > (uint64_t)count_of_questions)
            wanted = count_of_questions;
        uint64_t more = wanted > asked ? wanted - asked : 0;
        /* An id is used again only once its query was answered or has been given up. */
        if (more && asked - answered < IDS - VECTOR)
            give(udp, more > VECTOR ? VECTOR : more, now, began + asked * apart, apart);
        take(udp);
    }
    double seconds = (double)(now - began) / SECOND;
    for (end = now + PATIENCE; answered < asked && now < end; now = now_ns())
        take(udp);
    qsort(took, answered, sizeof *took, by_size);
    printf("{\"asked\": %lu, \"answered\": %lu, \"wrong\": %lu, \"late\": %lu, \"seconds\": %.6f, "
           "\"p50\": %u, \"p99\": %u, \"most\": %u}\n",
           asked, answered, wrong, late, seconds, answered ? took[answered / 2] : 0,
           answered ? took[answered - 1 - answered / 100] : 0, answered ? took[answered - 1] : 0);
    return 0;
}
