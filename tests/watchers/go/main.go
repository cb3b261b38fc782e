// A program that reloads as most Go services do: an fsnotify watch on a path, and a read of the
// file at every event. It prints one line a reaction, and so shows every event that fsnotify
// delivers: none is filtered, for what a program could react to is what the test counts.
//
// Usage: fsnotify-driver WATCHED FILE
package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/fsnotify/fsnotify"
)

func main() {
	watched, file := os.Args[1], os.Args[2]
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		fail(err)
	}
	if err := watcher.Add(watched); err != nil {
		fail(err)
	}
	fmt.Println("ready")
	for {
		select {
		case event := <-watcher.Events:
			content, err := os.ReadFile(file)
			if err != nil {
				fail(err)
			}
			fmt.Printf("reaction %s %s\n", event.Op, strconv.Quote(string(content)))
		case err := <-watcher.Errors:
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Println("error", err)
	os.Exit(1)
}
