package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// watchDotdata waits for the kubelet's symlink and for nothing else, as configmap-reload does and,
// with Create alone, Linkerd's credentials watcher.
func watchDotdata(folder, file string) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	if err := watcher.Add(folder); err != nil {
		return err
	}
	ready("github.com/fsnotify/fsnotify")
	for {
		select {
		case event := <-watcher.Events:
			if filepath.Base(event.Name) != "..data" || !event.Has(fsnotify.Create) && !event.Has(fsnotify.Write) {
				fmt.Println("ignored", filepath.Base(event.Name))
				continue
			}
			content, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			reaction(event.Name, string(content))
		case err := <-watcher.Errors:
			return err
		}
	}
}
