// An agent as others write them: hashicorp/yamux over gorilla/websocket, one http.Serve on the session.
//
// agent URL TOKEN client|server
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/gorilla/websocket"
	"github.com/hashicorp/yamux"
)

type conn struct {
	*websocket.Conn
	r io.Reader
}

func (c *conn) Read(p []byte) (int, error) {
	for {
		if c.r == nil {
			kind, r, err := c.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, fmt.Errorf("message of kind %d", kind)
			}
			c.r = r
		}
		n, err := c.r.Read(p)
		if err == io.EOF {
			c.r = nil
			if n == 0 {
				continue
			}
			err = nil
		}
		return n, err
	}
}

func (c *conn) Write(p []byte) (int, error) {
	return len(p), c.WriteMessage(websocket.BinaryMessage, p)
}

func main() {
	ws, _, err := websocket.DefaultDialer.Dial(os.Args[1], http.Header{"Authorization": {"Bearer " + os.Args[2]}})
	if err != nil {
		panic(err)
	}
	cfg := yamux.DefaultConfig()
	cfg.KeepAliveInterval = time.Second
	var s *yamux.Session
	if os.Args[3] == "client" {
		s, err = yamux.Client(&conn{Conn: ws}, cfg)
	} else {
		s, err = yamux.Server(&conn{Conn: ws}, cfg)
	}
	if err != nil {
		panic(err)
	}
	fmt.Println("up")
	err = http.Serve(s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/big" {
			w.Write(make([]byte, 5000000))
			return
		}
		if r.URL.Path == "/wait" {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			fmt.Println("cancelled")
			return
		}
		fmt.Fprintf(w, "go agent %s %s %d\n", r.Method, r.URL.Path, n)
	}))
	fmt.Println("end", err)
}
