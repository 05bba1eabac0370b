// A worker in Go: joins the server that shares a path, and echoes a line to each client.
//
//	go run . /run/app.ctl
//
// A few connections at a time, a goroutine each; the standard library only. docs/protocol.md explains each step,
// crates/core/PROTOCOL.md each byte.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	atATime  = 4
	maxLine  = 4096
	patience = 30 * time.Second
)

// worker is what this process does with its channel: one goroutine reads it, every goroutine writes to it.
type worker struct {
	channel *channel
	leases  sync.WaitGroup
	// Held while an ACK or LEAVE is said: no lease begins after the LEAVE.
	mutex   sync.Mutex
	leaving bool
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: worker PATH")
	}
	channel, err := join(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	w := &worker{channel: channel}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		<-terminated
		w.leave()
	}()
	channel.say(hello(), credit(atATime))
	err = w.listen()
	w.leases.Wait()
	if err != nil {
		log.Fatal(err)
	}
}

// leave finishes what is held and ends the channel, and with it listen. What arrives meanwhile is refused.
func (w *worker) leave() {
	w.mutex.Lock()
	w.leaving = true
	w.channel.say(leave())
	w.mutex.Unlock()
	w.leases.Wait()
	w.channel.close()
}

// listen reads the channel to its end. Nil is a good end.
func (w *worker) listen() error {
	// Taken, but the ACK could not be sent: whose they are is known at the end of the channel.
	var unsaid []net.Conn
	drop := func() {
		for _, connection := range unsaid {
			connection.Close()
		}
	}
	for {
		frame, err := w.channel.next()
		switch {
		case errors.Is(err, net.ErrClosed):
			drop()
			return nil
		case errors.Is(err, io.EOF):
			// The parent has died, and its copies with it: these are ours alone.
			for _, connection := range unsaid {
				serve(connection)
			}
			return errors.New("the server has gone")
		case err != nil:
			drop()
			return err
		}
		switch frame.kind {
		case kindConnection:
			for _, record := range frame.records {
				if connection := w.take(record); connection != nil {
					unsaid = append(unsaid, connection)
				}
			}
		case kindRetire:
			if len(unsaid) == 0 {
				return nil
			}
		case kindClose:
			drop() // Withdrawn: others have them.
			return closed(frame.records[0])
		}
		// WELCOME; DRAIN, as nothing idles here; CANCELLED, which answers what is never asked here; and RECALL, which has
		// crossed an ACK: whatever arrives is acked before the next read.
	}
}

// take acks a connection and has it served, or refuses it. It returns one whose ACK could not be sent.
func (w *worker) take(record []byte) net.Conn {
	number := record[:8]
	descriptor, ok := w.channel.claim()
	if !ok {
		w.channel.say(refuse(number, noDescriptor), credit(1))
		return nil
	}
	connection, err := adopt(descriptor)
	if err != nil {
		w.channel.say(refuse(number, noDescriptor), credit(1))
		return nil
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.leaving {
		connection.Close()
		w.channel.say(refuse(number, unwanted))
		return nil
	}
	// Before the first byte is read.
	if !w.channel.say(ack(number)) {
		return connection
	}
	w.leases.Add(1)
	go func() {
		defer w.leases.Done()
		serve(connection)
		w.channel.say(ended(1), credit(1)) // Credit after LEAVE or RETIRE is ignored.
	}()
	return nil
}

// adopt makes a connection of a descriptor. FileConn duplicates it, so this comes before the ACK: at the limit of open
// files it fails, and the connection can go to another worker.
func adopt(descriptor int) (net.Conn, error) {
	file := os.NewFile(uintptr(descriptor), "connection")
	defer file.Close()
	return net.FileConn(file)
}

// serve is what this worker is for: it sends the first line back, behind the worker's name.
func serve(connection net.Conn) {
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(io.LimitReader(connection, maxLine)).ReadBytes('\n')
	if err != nil && err != io.EOF {
		return
	}
	fmt.Fprintf(connection, "go-%d %s", os.Getpid(), line)
	// Close alone says nothing while anybody else has a copy: a worker that had it before, and is stuck.
	if half, ok := connection.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}
