package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

const (
	kindHello   = 0x01
	kindAck     = 0x02
	kindRefuse  = 0x03
	kindEnded   = 0x04
	kindCredit  = 0x05
	kindLeave   = 0x07
	kindWelcome = 0x81

	kindConnection = 0x82
	kindRecall     = 0x83
	kindCancelled  = 0x84
	kindDrain      = 0x85
	kindRetire     = 0x86
	kindClose      = 0x87
)

// Reasons of REFUSE.
const (
	noDescriptor = 2
	unwanted     = 3
)

// Reasons of CLOSE that are not errors.
const (
	serverEnds = 1
	dismissed  = 2
)

const (
	version    = 1
	header     = 8
	maxRecords = 64
	maxFrame   = header + 40*maxRecords
	scmMaxFd   = 253 // Limit of the kernel per message.
)

var recordSize = map[byte]int{
	kindWelcome: 12, kindConnection: 40, kindRecall: 8, kindCancelled: 8, kindDrain: 0, kindRetire: 0, kindClose: 8,
}

var order = binary.LittleEndian

// frame is a frame that the parent sent.
type frame struct {
	kind    byte
	records [][]byte
}

// channel is the socket between this worker and the parent.
type channel struct {
	socket  *net.UnixConn
	sending sync.Mutex

	buffer      [2 * maxFrame]byte
	received    []byte // The part of buffer that is not decoded yet.
	descriptors []int  // Received, not claimed by a frame yet; oldest first.
	truncated   bool   // The kernel dropped descriptors: the process has reached its limit of open files.
}

// join connects to a shared path; "@name" is an abstract name on Linux. Go sets FD_CLOEXEC: with a copy of the channel
// in a child, the parent would not notice the death of this process.
func join(path string) (*channel, error) {
	socket, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	return &channel{socket: socket}, nil
}

func (c *channel) close() {
	c.socket.Close()
}

// send sends frames in one message. It returns false if the channel is closed; earlier frames can still be read.
func (c *channel) send(frames ...[]byte) bool {
	var message []byte
	for _, frame := range frames {
		message = append(message, frame...)
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	_, err := c.socket.Write(message)
	return err == nil
}

// next waits for the next frame, which is valid until the next call. It fails with io.EOF when the parent closes the
// channel between two frames, and with net.ErrClosed after close.
func (c *channel) next() (frame, error) {
	for {
		next, ok, err := c.decode()
		if ok && next.kind == kindConnection && len(c.descriptors) < len(next.records) && !c.truncated {
			return frame{}, errors.New("the server has sent a connection without its descriptor")
		}
		if ok || err != nil {
			return next, err
		}
		if len(c.received) == 0 {
			if len(c.descriptors) > 0 {
				return frame{}, errors.New("the server has sent a descriptor that no frame declares")
			}
			c.truncated = false
		}
		if err := c.receive(); err != nil {
			return frame{}, err
		}
	}
}

// decode removes one complete frame from the received bytes. It returns false if the frame is incomplete.
func (c *channel) decode() (frame, bool, error) {
	if len(c.received) < header {
		return frame{}, false, nil
	}
	length, kind, count := int(order.Uint32(c.received)), c.received[4], int(order.Uint16(c.received[6:]))
	size, known := recordSize[kind]
	if !known || c.received[5] != 0 || count > maxRecords || (count > 0) != (size > 0) || length != count*size {
		return frame{}, false, errors.New("the server has sent an invalid frame")
	}
	if len(c.received) < header+length {
		return frame{}, false, nil
	}
	next := frame{kind: kind}
	for at := header; at < header+length; at += size {
		next.records = append(next.records, c.received[at:at+size])
	}
	c.received = c.received[header+length:]
	return next, true, nil
}

// receive receives the available bytes and descriptors. Read would silently close the descriptors.
func (c *channel) receive() error {
	kept := copy(c.buffer[:], c.received)
	control := make([]byte, syscall.CmsgSpace(4*scmMaxFd))
	// ReadMsgUnix sets FD_CLOEXEC on the descriptors, with MSG_CMSG_CLOEXEC or, on macOS, one by one.
	count, controlCount, flags, _, err := c.socket.ReadMsgUnix(c.buffer[kept:], control)
	switch {
	case (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) && kept > 0:
		return io.ErrUnexpectedEOF
	case errors.Is(err, syscall.ECONNRESET):
		return io.EOF
	case err != nil:
		return err
	}
	c.received = c.buffer[:kept+count]
	c.truncated = c.truncated || flags&syscall.MSG_CTRUNC != 0
	messages, err := syscall.ParseSocketControlMessage(control[:controlCount])
	if err != nil {
		return os.NewSyscallError("recvmsg", err)
	}
	for _, message := range messages {
		descriptors, err := syscall.ParseUnixRights(&message)
		if err != nil {
			return os.NewSyscallError("recvmsg", err)
		}
		c.descriptors = append(c.descriptors, descriptors...)
	}
	return nil
}

// claim returns the descriptor of the next connection, or false if the kernel dropped it.
func (c *channel) claim() (int, bool) {
	if len(c.descriptors) == 0 {
		return 0, false
	}
	descriptor := c.descriptors[0]
	c.descriptors = c.descriptors[1:]
	return descriptor, true
}

// closed returns the error of a CLOSE: nil if the server shut down or dismissed this worker.
func closed(record []byte) error {
	reason, detail := order.Uint32(record), order.Uint32(record[4:])
	if reason == serverEnds || reason == dismissed {
		return nil
	}
	return fmt.Errorf("the server has closed the channel: reason %d, detail %d", reason, detail)
}

func hello() []byte {
	record := append([]byte("SSRV"), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	order.PutUint16(record[4:], version)
	order.PutUint16(record[6:], version)
	order.PutUint32(record[8:], uint32(os.Getpid()))
	return encode(kindHello, record)
}

func ack(number []byte) []byte {
	return encode(kindAck, number)
}

func refuse(number []byte, reason uint32) []byte {
	return encode(kindRefuse, order.AppendUint32(append([]byte(nil), number...), reason))
}

func ended(leases uint32) []byte {
	return encode(kindEnded, order.AppendUint32(nil, leases))
}

// credit grants credit for count connections on any port.
func credit(count uint32) []byte {
	return encode(kindCredit, append(order.AppendUint32(nil, count), 0, 0, 0, 0))
}

func leave() []byte {
	return encode(kindLeave, nil)
}

// encode returns a frame with one record, or without records if record is empty.
func encode(kind byte, record []byte) []byte {
	count := byte(0)
	if len(record) > 0 {
		count = 1
	}
	return append(order.AppendUint32(nil, uint32(len(record))), append([]byte{kind, 0, count, 0}, record...)...)
}
