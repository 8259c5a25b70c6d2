// A tower defence whose path, enemies and revenue go through Convert. `Awake` and `Update` are called as Unity calls a
// MonoBehaviour's, `Application` quits like Unity's, and `Carrier` does what a UnityWebRequest does there.
using System;
using System.Collections.Generic;
using System.Drawing;
using System.Drawing.Drawing2D;
using System.Drawing.Imaging;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Threading.Tasks;
using ConvertSdk;

// Carries the pump's requests: begins them, and answers those that are done.
sealed class Carrier : IDisposable
{
    readonly HttpClient client = new HttpClient(new HttpClientHandler {
        AllowAutoRedirect = false, AutomaticDecompression = DecompressionMethods.GZip, UseCookies = false });
    readonly Dictionary<ulong, Task<Response>> carried = new Dictionary<ulong, Task<Response>>();

    sealed class Response
    {
        public int Status;
        public byte[] Body;
        public readonly Dictionary<string, string> Headers = new Dictionary<string, string>();
    }

    public void Carry(Sdk sdk)
    {
        for (Request request; (request = sdk.NextRequest()) != null;)
            using (request) carried[request.Id] = Send(request);
        foreach (var done in carried.Where(pair => pair.Value.IsCompleted).ToList())
        {
            carried.Remove(done.Key);
            if (done.Value.Status == TaskStatus.RanToCompletion)
                sdk.Answer(done.Key, done.Value.Result.Status, done.Value.Result.Headers, done.Value.Result.Body);
            else
                sdk.Fail(done.Key, !Unconnected(done.Value.Exception));
        }
    }

    static bool Unconnected(Exception error)
    {
        var web = error == null ? null : error.GetBaseException() as WebException;
        return web != null && (web.Status == WebExceptionStatus.ConnectFailure || web.Status == WebExceptionStatus.NameResolutionFailure);
    }

    Task<Response> Send(Request request)
    {
        var message = new HttpRequestMessage(new HttpMethod(request.Method), request.Url);
        if (request.Method == "POST") message.Content = new ByteArrayContent(request.Body);
        foreach (var header in request.Headers())
        {
            if (header.Key == "content-type") message.Content.Headers.ContentType = new MediaTypeHeaderValue(header.Value);
            else message.Headers.TryAddWithoutValidation(header.Key, header.Value);
        }
        var timeout = new System.Threading.CancellationTokenSource(request.Timeout);
        return Finish(client.SendAsync(message, timeout.Token));
    }

    static async Task<Response> Finish(Task<HttpResponseMessage> sent)
    {
        using (var response = await sent)
        {
            var received = new Response { Status = (int)response.StatusCode, Body = await response.Content.ReadAsByteArrayAsync() };
            foreach (var name in new[] { "etag", "retry-after", "date" })
            {
                IEnumerable<string> values;
                if (response.Headers.TryGetValues(name, out values)) received.Headers[name] = values.First();
            }
            return received;
        }
    }

    public void Dispose() { client.Dispose(); }
}

// Asks before it quits, as in Unity: after a `false`, updates go on, and who said it calls `Quit` once more.
static class Application
{
    public static event Func<bool> wantsToQuit;
    public static bool Quitting { get; private set; }

    public static void Quit() { Quitting = wantsToQuit.GetInvocationList().Cast<Func<bool>>().All(wants => wants()); }
}

sealed class Defence
{
    const int Width = 640, Height = 400;
    const float Step = 1f / 60;

    Sdk sdk;
    Carrier carrier;
    Question ready, over;
    Visitor player;
    string name;
    PointF[] path;
    PointF[] towers;
    Color colour;
    float speed;
    List<float> enemies; // how far each has walked
    List<float> health;
    readonly List<KeyValuePair<PointF, PointF>> beams = new List<KeyValuePair<PointF, PointF>>();
    int plays, score, allThreads, sdkThreads, frame;
    string layout;
    readonly int games;
    readonly string picture;

    bool ended;

    public bool Failed { get; private set; }

    public Defence(int games, string picture)
    {
        this.games = games;
        this.picture = picture;
    }

    public void Awake()
    {
        var config = Environment.GetEnvironmentVariable("CONVERT_CONFIG_ENDPOINT");
        // The emulator's; Convert's own endpoints are HTTPS.
        sdk = new Sdk(Environment.GetEnvironmentVariable("CONVERT_SDK_KEY"), config,
                      Environment.GetEnvironmentVariable("CONVERT_TRACK_ENDPOINT"),
                      config != null && config.StartsWith("http://"));
        carrier = new Carrier();
        ready = sdk.Initialize();
        Application.wantsToQuit += WantsToQuit;
    }

    public void Update()
    {
        sdk.Turn(200);
        carrier.Carry(sdk);
        if (frame++ % 30 == 0) CountThreads();
        if (ready != null)
        {
            var status = ready.Check();
            if (status == Status.Pending) return;
            if (status != Status.Ok) { Console.Error.WriteLine(Sdk.LastError); Failed = true; }
            ready = null;
        }
        if (over != null)
        {
            var status = over.Check();
            if (status == Status.Pending) return;
            Failed |= status != Status.Ok || sdkThreads > 0;
            ended = true;
            Application.Quit();
        }
        else if (enemies == null || enemies.Count == 0)
        {
            if (enemies != null) Cleared();
            if (plays == games) Application.Quit(); else Begin();
        }
        else Advance();
    }

    // The shutdown needs more updates, and none follows OnApplicationQuit.
    bool WantsToQuit()
    {
        if (over == null) over = sdk.Shutdown(1000);
        return ended;
    }

    public void OnApplicationQuit()
    {
        CountThreads();
        Console.WriteLine("{{\"threads\": {0}, \"sdk_threads\": {1}, \"undelivered\": {2}}}", allThreads, sdkThreads, over.Undelivered);
        over.Dispose();
        if (player != null) player.Dispose();
        sdk.Dispose();
        carrier.Dispose();
    }

    void Begin()
    {
        name = "csharp-" + ++plays;
        layout = "ranks";
        colour = Color.Gray;
        speed = 60;
        if (player != null) player.Dispose();
        player = Visitor.Of(sdk, name);
        if (player != null)
        {
            var shown = player.Run("level-layout");
            if (shown != null) { layout = shown.Value.VariationKey; Say(shown.Value); }
            var decided = player.RunFeature("enemies");
            if (decided != null)
            {
                var hex = decided.Text("colour"); // such as #ff8800
                if (hex != null) colour = Color.FromArgb(255, Color.FromArgb(Convert.ToInt32(hex.TrimStart('#'), 16)));
                speed = (float)(decided.Number("speed") ?? speed);
                Say(decided.Shown);
            }
        }
        path = Path(layout);
        towers = Towers();
        enemies = Enumerable.Range(0, 24).Select(index => -34f * index).ToList();
        health = enemies.Select(_ => 1f).ToList();
        score = 0;
    }

    void Say(Shown shown)
    {
        Console.WriteLine("{{\"visitor\": \"{0}\", \"experience\": \"{1}\", \"variation\": \"{2}\"}}", name, shown.ExperienceId, shown.VariationId);
    }

    void Cleared()
    {
        var revenue = score / 100.0;
        if (player != null && player.Track("level-cleared", revenue))
            Console.WriteLine("{{\"visitor\": \"{0}\", \"goal\": \"level-cleared\", \"amount\": {1}}}", name,
                              revenue.ToString("F2", CultureInfo.InvariantCulture));
    }

    void Advance()
    {
        beams.Clear();
        for (var index = 0; index < enemies.Count; index++) enemies[index] += speed * Step;
        foreach (var tower in towers)
        {
            var target = enemies.FindIndex(walked => walked > 0 && Distance(At(walked), tower) < 95);
            if (target < 0) continue;
            beams.Add(new KeyValuePair<PointF, PointF>(tower, At(enemies[target])));
            health[target] -= Step * speed / 110;
            if (health[target] > 0) continue;
            score += 20;
            enemies.RemoveAt(target);
            health.RemoveAt(target);
        }
        // Who reaches the end begins again, for a smaller score.
        for (var index = 0; index < enemies.Count; index++)
            if (enemies[index] > Length()) { enemies[index] = 0; score = Math.Max(0, score - 10); }
        if (picture != null && plays == games && score == 200 && beams.Count > 1) Draw();
    }

    static PointF[] Path(string layout)
    {
        var points = new List<PointF>();
        if (layout == "wedge")
            for (var index = 0; index < 9; index++) points.Add(new PointF(index * 80, index % 2 == 0 ? 80 : 330));
        else if (layout == "rings")
            for (var index = 0; index <= 110; index++)
            {
                var angle = index * 0.17;
                var radius = 190 - index * 1.5;
                points.Add(new PointF((float)(320 + Math.Cos(angle) * radius * 1.5), (float)(205 + Math.Sin(angle) * radius)));
            }
        else
            for (var row = 0; row < 4; row++)
            {
                var y = 75 + row * 85;
                points.Add(new PointF(row % 2 == 0 ? 40 : 600, y));
                points.Add(new PointF(row % 2 == 0 ? 600 : 40, y));
            }
        return points.ToArray();
    }

    PointF[] Towers()
    {
        return Enumerable.Range(1, 7).Select(index => At(Length() * index / 8)).Select(
            (point, index) => new PointF(point.X + (index % 2 == 0 ? 26 : -26), point.Y + 34)).ToArray();
    }

    static float Distance(PointF a, PointF b) { return (float)Math.Sqrt((a.X - b.X) * (a.X - b.X) + (a.Y - b.Y) * (a.Y - b.Y)); }

    float Length() { return path.Skip(1).Select((point, index) => Distance(path[index], point)).Sum(); }

    PointF At(float walked)
    {
        for (var index = 1; index < path.Length; index++)
        {
            var leg = Distance(path[index - 1], path[index]);
            if (walked <= leg)
            {
                var part = Math.Max(0, walked / leg);
                return new PointF(path[index - 1].X + (path[index].X - path[index - 1].X) * part,
                                  path[index - 1].Y + (path[index].Y - path[index - 1].Y) * part);
            }
            walked -= leg;
        }
        return path[path.Length - 1];
    }

    void Draw()
    {
        using (var image = new Bitmap(Width, Height))
        using (var canvas = Graphics.FromImage(image))
        using (var font = new Font(FontFamily.GenericSansSerif, 11, FontStyle.Bold))
        {
            canvas.SmoothingMode = SmoothingMode.AntiAlias;
            canvas.Clear(Color.FromArgb(0x2f, 0x4f, 0x35));
            using (var edge = new Pen(Color.FromArgb(0x6b, 0x55, 0x3a), 34) { LineJoin = LineJoin.Round })
            using (var road = new Pen(Color.FromArgb(0xb9, 0x9a, 0x6b), 28) { LineJoin = LineJoin.Round })
            {
                canvas.DrawLines(edge, path);
                canvas.DrawLines(road, path);
            }
            for (var index = 0; index < enemies.Count; index++)
            {
                if (enemies[index] <= 0) continue;
                var at = At(enemies[index]);
                Disc(canvas, at, 10, Color.FromArgb(40, 20, 20));
                Disc(canvas, at, 8.5f, colour);
                Disc(canvas, new PointF(at.X - 3, at.Y - 2), 2, Color.White);
                Disc(canvas, new PointF(at.X + 3, at.Y - 2), 2, Color.White);
                canvas.FillRectangle(Brushes.Black, at.X - 10, at.Y - 17, 20, 4);
                canvas.FillRectangle(Brushes.LimeGreen, at.X - 9, at.Y - 16, 18 * health[index], 2);
            }
            foreach (var tower in towers)
            {
                canvas.FillRectangle(Brushes.DimGray, tower.X - 12, tower.Y - 8, 24, 20);
                canvas.FillRectangle(Brushes.LightGray, tower.X - 10, tower.Y - 14, 20, 22);
                for (var merlon = -10; merlon <= 4; merlon += 7) canvas.FillRectangle(Brushes.LightGray, tower.X + merlon, tower.Y - 19, 5, 6);
                canvas.FillRectangle(Brushes.Black, tower.X - 3, tower.Y - 4, 6, 12);
            }
            using (var beam = new Pen(Color.FromArgb(220, 255, 240, 120), 2.5f))
                foreach (var pair in beams) canvas.DrawLine(beam, pair.Key.X, pair.Key.Y - 14, pair.Value.X, pair.Value.Y);
            canvas.FillRectangle(Brushes.Black, 0, 0, Width, 28);
            canvas.DrawString(string.Format(CultureInfo.InvariantCulture, "{0}   SCORE {1}   PATH {2}   SPEED {3:0}   THREADS OF THE SDK {4}",
                name, score, layout, speed, sdkThreads).ToUpperInvariant(), font, Brushes.White, 8, 5);
            image.Save(picture, ImageFormat.Png);
        }
    }

    static void Disc(Graphics canvas, PointF at, float radius, Color colour)
    {
        using (var brush = new SolidBrush(colour)) canvas.FillEllipse(brush, at.X - radius, at.Y - radius, 2 * radius, 2 * radius);
    }

    void CountThreads()
    {
        var names = new List<string>();
        foreach (var task in Directory.GetDirectories("/proc/self/task"))
            try { names.Add(File.ReadAllText(task + "/comm")); } catch (IOException) { } // it has ended meanwhile
        allThreads = Math.Max(allThreads, names.Count);
        sdkThreads = Math.Max(sdkThreads, names.Count(it => it.StartsWith("convert-")));
    }

    // The engine's part. Usage: defence.exe [GAMES [PICTURE]]
    static int Main(string[] arguments)
    {
        var defence = new Defence(arguments.Length > 0 ? int.Parse(arguments[0]) : 3, arguments.Length > 1 ? arguments[1] : null);
        defence.Awake();
        while (!Application.Quitting) defence.Update();
        defence.OnApplicationQuit();
        return defence.Failed ? 1 : 0;
    }
}
