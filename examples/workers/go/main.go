// A worker in Go: joins the server that shares a path, and echoes one line to each client.
//
//	go run . /run/app.ctl
//
// Serves several connections at a time, each in a goroutine, and uses only the standard library. docs/protocol.md
// explains each step, crates/core/PROTOCOL.md each byte.
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
	concurrency = 4
	maxLine     = 4096
	timeout     = 30 * time.Second
)

// worker serves the connections of one channel. One goroutine reads the channel, every goroutine writes to the channel.
type worker struct {
	channel *channel
	leases  sync.WaitGroup
	// Held while an ACK or LEAVE is sent, so that no lease starts after the LEAVE.
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
	channel.send(hello(), credit(concurrency))
	err = w.run()
	w.leases.Wait()
	if err != nil {
		log.Fatal(err)
	}
}

// leave finishes the leases and closes the channel, which ends run. Connections that arrive meanwhile are refused.
func (w *worker) leave() {
	w.mutex.Lock()
	w.leaving = true
	w.channel.send(leave())
	w.mutex.Unlock()
	w.leases.Wait()
	w.channel.close()
}

// run reads the channel to its end. It returns nil after an orderly end.
func (w *worker) run() error {
	// Accepted, but the ACK could not be sent. The end of the channel decides whether this worker may serve them.
	var unacked []net.Conn
	drop := func() {
		for _, connection := range unacked {
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
			// The parent has died, so no other worker can get these connections.
			for _, connection := range unacked {
				serve(connection)
			}
			return errors.New("the server has died")
		case err != nil:
			drop()
			return err
		}
		switch frame.kind {
		case kindConnection:
			for _, record := range frame.records {
				if connection := w.take(record); connection != nil {
					unacked = append(unacked, connection)
				}
			}
		case kindRetire:
			if len(unacked) == 0 {
				return nil
			}
		case kindClose:
			drop() // Other workers get these connections.
			return closed(frame.records[0])
		}
		// Ignored: WELCOME; DRAIN, because this worker has no idle connections; CANCELLED, because this worker sends no
		// CANCEL; RECALL, which crossed an ACK, because every connection is acked before the next read.
	}
}

// take acks a connection and serves it in a goroutine, or refuses it. It returns the connection if the ACK could not be
// sent.
func (w *worker) take(record []byte) net.Conn {
	number := record[:8]
	descriptor, ok := w.channel.claim()
	if !ok {
		w.channel.send(refuse(number, noDescriptor), credit(1))
		return nil
	}
	connection, err := adopt(descriptor)
	if err != nil {
		w.channel.send(refuse(number, noDescriptor), credit(1))
		return nil
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.leaving {
		connection.Close()
		w.channel.send(refuse(number, unwanted))
		return nil
	}
	// The ACK precedes the first read.
	if !w.channel.send(ack(number)) {
		return connection
	}
	w.leases.Add(1)
	go func() {
		defer w.leases.Done()
		serve(connection)
		w.channel.send(ended(1), credit(1)) // Credit after LEAVE or RETIRE is ignored.
	}()
	return nil
}

// adopt turns a descriptor into a connection. FileConn duplicates the descriptor and can fail at the limit of open files,
// so adopt is called before the ACK: the connection can then go to another worker.
func adopt(descriptor int) (net.Conn, error) {
	file := os.NewFile(uintptr(descriptor), "connection")
	defer file.Close()
	return net.FileConn(file)
}

// serve echoes the first line, after the name of this worker.
func serve(connection net.Conn) {
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(timeout))
	line, err := bufio.NewReader(io.LimitReader(connection, maxLine)).ReadBytes('\n')
	if err != nil && err != io.EOF {
		return
	}
	fmt.Fprintf(connection, "go-%d %s", os.Getpid(), line)
	// Close sends no FIN while another process has a copy, such as a stalled worker that had the connection before.
	if half, ok := connection.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}
