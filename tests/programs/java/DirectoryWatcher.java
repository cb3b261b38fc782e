// A program that reloads as Spring Boot's SSL bundles do: java DirectoryWatcher.java FOLDER FILE
//
// It watches the folders of the file and of every link on the way to it, keeps events that name one
// of these, and calls its action once, when nothing more came for the quiet period.

import java.io.IOException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardWatchEventKinds;
import java.nio.file.WatchEvent;
import java.nio.file.WatchKey;
import java.nio.file.WatchService;
import java.util.LinkedHashSet;
import java.util.Set;
import java.util.concurrent.TimeUnit;

class DirectoryWatcher {
    private static final long QUIET_MILLISECONDS = 200;

    public static void main(String[] arguments) throws Exception {
        Path file = Path.of(arguments[1]);
        Set<Path> managed = hops(file);
        WatchService service = FileSystems.getDefault().newWatchService();
        for (Path path : managed) {
            path.getParent().register(
                    service,
                    StandardWatchEventKinds.ENTRY_CREATE,
                    StandardWatchEventKinds.ENTRY_MODIFY,
                    StandardWatchEventKinds.ENTRY_DELETE);
        }
        System.out.println("ready " + System.getProperty("java.version"));
        boolean changed = false;
        while (true) {
            WatchKey key = service.poll(QUIET_MILLISECONDS, TimeUnit.MILLISECONDS);
            if (key == null) {
                if (changed) {
                    act(file);
                }
                changed = false;
                continue;
            }
            Path folder = (Path) key.watchable();
            for (WatchEvent<?> event : key.pollEvents()) {
                changed |= managed.contains(folder.resolve((Path) event.context()));
            }
            key.reset();
        }
    }

    /** The path, and where each link in it or in its folder leads. */
    private static Set<Path> hops(Path path) throws IOException {
        Set<Path> found = new LinkedHashSet<>();
        found.add(path);
        Path folder = path.getParent();
        if (Files.isSymbolicLink(folder)) {
            found.add(folder);
            Path target = folder.resolveSibling(Files.readSymbolicLink(folder));
            found.addAll(hops(target.resolve(path.getFileName())));
        } else if (Files.isSymbolicLink(path)) {
            found.addAll(hops(path.resolveSibling(Files.readSymbolicLink(path))));
        }
        return found;
    }

    private static void act(Path file) throws IOException {
        // The test's contents need no escapes.
        System.out.printf("reaction {\"name\":\"\",\"file\":\"%s\",\"named\":null}%n", Files.readString(file));
    }
}
