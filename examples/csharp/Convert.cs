// The part of convert.h that the sample calls, for .NET, mono and Unity: structs as there, texts as UTF-8, handles owned.
using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;

// Not `Convert`, which would hide .NET's own class of that name.
namespace ConvertSdk
{
    public enum Status { Ok = 0, Pending = 63 }

    [StructLayout(LayoutKind.Sequential)]
    public struct RawText
    {
        public IntPtr Data;
        public UIntPtr Length;

        public byte[] Bytes()
        {
            var bytes = new byte[(int)Length];
            if (bytes.Length > 0) Marshal.Copy(Data, bytes, 0, bytes.Length);
            return bytes;
        }

        public override string ToString() { return Encoding.UTF8.GetString(Bytes()); }
    }

    // A text that is passed in, while it is passed.
    sealed class Passed : IDisposable
    {
        readonly byte[] bytes;
        GCHandle pin;

        public Passed(byte[] bytes)
        {
            this.bytes = bytes;
            pin = GCHandle.Alloc(bytes, GCHandleType.Pinned);
        }

        public Passed(string text) : this(Encoding.UTF8.GetBytes(text)) { }

        public RawText Text
        {
            get { return new RawText { Data = pin.AddrOfPinnedObject(), Length = (UIntPtr)bytes.Length }; }
        }

        public void Dispose() { pin.Free(); }
    }

    [StructLayout(LayoutKind.Sequential)]
    struct Config
    {
        public UIntPtr Size;
        public RawText SdkKey, DataJson, DataFile;
        public uint ForServer, TrackingOff;
        public RawText Environment;
        public uint LowCache, ExcludeExperienceIdHash;
        public RawText DebugToken;
        public ulong BatchSize, AutoFlushInterval, RefreshInterval, RefreshJitter, InitializeTimeout;
        public ulong MaxVisitors, MaxVisitorBytes, VisitorTtl;
        public uint HashSeed, MaxTraffic, BucketOrderOfConfig, DangerAllowHttpOnLoopback;
        public RawText ConfigBaseUrl, TrackBaseUrl, AuthSecret, Proxy, RootCertificatesPem;
        public IntPtr Headers;
        public UIntPtr HeaderCount;
        public ulong ConnectTimeout, TotalTimeout, MaxResponseBytes;
        public ulong QueueCapacity, MaxPendingRecords, MaxPendingBytes, MaxRequestEvents, MaxRequestBytes;
        public ulong Lanes, MaxAge, Backoff, BackoffCeiling;
        public uint DropNewest, BreakerThreshold, ForGameLoop, Offline;
        public RawText ConfigCache;
        public ulong MaxStale;
        public uint WithdrawWhenStale, BatchIds;
        public IntPtr AcceptConfig, AcceptUser, AcceptRelease;
    }

    [StructLayout(LayoutKind.Sequential)]
    struct RawExperience
    {
        public UIntPtr Size;
        public uint Source, BucketValue;
        public RawText ExperienceId, ExperienceKey, ExperienceName, VariationId, VariationKey, VariationName;
    }

    [StructLayout(LayoutKind.Sequential)]
    struct RawFeature
    {
        public UIntPtr Size;
        public RawText FeatureId, FeatureKey, FeatureName, ExperienceId, ExperienceKey, VariationId, VariationKey;
        public UIntPtr VariableCount;
        public UIntPtr R0, R1, R2, R3, R4, R5, R6, R7, R8, R9;
    }

    [StructLayout(LayoutKind.Sequential)]
    struct GoalData
    {
        public uint Key, Kind;
        public double Number;
        public RawText Text;
    }

    [StructLayout(LayoutKind.Sequential)]
    struct ConversionOptions
    {
        public UIntPtr Size;
        public IntPtr Data;
        public UIntPtr DataCount;
        public IntPtr RuleData;
        public UIntPtr RuleDataCount;
        public uint ForceMultiple, Reserved;
    }

    [StructLayout(LayoutKind.Sequential)]
    struct RawHeader { public RawText Name, Value; }

    [StructLayout(LayoutKind.Sequential)]
    struct FlushReport
    {
        public UIntPtr Size;
        public ulong Delivered, Dropped, Pending;
    }

    static class Native
    {
        const string Library = "convert";

        [DllImport(Library)] public static extern Status convert_core_new_pumped(ref Config config, out CoreHandle core, out PumpHandle pump);
        [DllImport(Library)] public static extern void convert_core_free(IntPtr core);
        [DllImport(Library)] public static extern Status convert_pump_turn(PumpHandle pump, ulong budget, IntPtr report);
        [DllImport(Library)] public static extern Status convert_pump_next_request(PumpHandle pump, out RequestHandle request);
        [DllImport(Library)] public static extern Status convert_pump_answer(PumpHandle pump, ulong id, ushort status, RawHeader[] headers, UIntPtr count, RawText body);
        [DllImport(Library)] public static extern Status convert_pump_fail(PumpHandle pump, ulong id, uint wasSent);
        [DllImport(Library)] public static extern Status convert_pump_initialize(PumpHandle pump, out QuestionHandle question);
        [DllImport(Library)] public static extern Status convert_pump_shutdown(PumpHandle pump, ulong timeout, out QuestionHandle question);
        [DllImport(Library)] public static extern void convert_pump_free(IntPtr pump);
        [DllImport(Library)] public static extern Status convert_question_check(QuestionHandle question, ref FlushReport report);
        [DllImport(Library)] public static extern void convert_question_free(IntPtr question);
        [DllImport(Library)] public static extern ulong convert_request_id(RequestHandle request);
        [DllImport(Library)] public static extern RawText convert_request_method(RequestHandle request);
        [DllImport(Library)] public static extern RawText convert_request_url(RequestHandle request);
        [DllImport(Library)] public static extern RawText convert_request_body(RequestHandle request);
        [DllImport(Library)] public static extern ulong convert_request_timeout(RequestHandle request);
        [DllImport(Library)] public static extern UIntPtr convert_request_header_count(RequestHandle request);
        [DllImport(Library)] public static extern Status convert_request_header_at(RequestHandle request, UIntPtr index, out RawHeader header);
        [DllImport(Library)] public static extern void convert_request_free(IntPtr request);
        [DllImport(Library)] public static extern Status convert_context_new(CoreHandle core, RawText visitor, IntPtr attributes, UIntPtr count, out ContextHandle context);
        [DllImport(Library)] public static extern void convert_context_free(IntPtr context);
        [DllImport(Library)] public static extern Status convert_context_run_experience(ContextHandle context, RawText key, IntPtr options, ref RawExperience result);
        [DllImport(Library)] public static extern Status convert_context_run_feature(ContextHandle context, RawText key, IntPtr options, ref RawFeature result);
        [DllImport(Library)] public static extern Status convert_feature_text(ref RawFeature feature, RawText key, out RawText value);
        [DllImport(Library)] public static extern Status convert_feature_number(ref RawFeature feature, RawText key, out double value);
        [DllImport(Library)] public static extern Status convert_context_track(ContextHandle context, RawText goal, ref ConversionOptions options);
        [DllImport(Library)] public static extern RawText convert_last_error();
    }

    // Freed once, also if the application forgets it.
    abstract class Handle : SafeHandle
    {
        protected Handle() : base(IntPtr.Zero, true) { }
        public override bool IsInvalid { get { return handle == IntPtr.Zero; } }
        protected abstract void Free(IntPtr handle);
        protected override bool ReleaseHandle() { Free(handle); return true; }
    }

    sealed class CoreHandle : Handle { protected override void Free(IntPtr it) { Native.convert_core_free(it); } }
    sealed class PumpHandle : Handle { protected override void Free(IntPtr it) { Native.convert_pump_free(it); } }
    sealed class QuestionHandle : Handle { protected override void Free(IntPtr it) { Native.convert_question_free(it); } }
    sealed class RequestHandle : Handle { protected override void Free(IntPtr it) { Native.convert_request_free(it); } }
    sealed class ContextHandle : Handle { protected override void Free(IntPtr it) { Native.convert_context_free(it); } }

    public struct Shown { public string ExperienceId, VariationId, VariationKey; }

    // An HTTP request to carry, and the answer to it.
    public sealed class Request : IDisposable
    {
        readonly RequestHandle handle;
        internal Request(RequestHandle handle) { this.handle = handle; }

        public ulong Id { get { return Native.convert_request_id(handle); } }
        public string Method { get { return Kept(Native.convert_request_method(handle).ToString()); } }
        public string Url { get { return Kept(Native.convert_request_url(handle).ToString()); } }
        public byte[] Body { get { return Kept(Native.convert_request_body(handle).Bytes()); } }
        public TimeSpan Timeout { get { return TimeSpan.FromMilliseconds(Native.convert_request_timeout(handle)); } }

        public IEnumerable<KeyValuePair<string, string>> Headers()
        {
            for (ulong index = 0; index < (ulong)Native.convert_request_header_count(handle); index++)
            {
                RawHeader header;
                Native.convert_request_header_at(handle, (UIntPtr)index, out header);
                yield return Kept(new KeyValuePair<string, string>(header.Name.ToString(), header.Value.ToString()));
            }
        }

        // What was read from memory that this owns: until then the finalizer must not free it.
        T Kept<T>(T read)
        {
            GC.KeepAlive(this);
            return read;
        }

        public void Dispose() { handle.Dispose(); }
    }

    public sealed class Question : IDisposable
    {
        readonly QuestionHandle handle;
        internal Question(QuestionHandle handle) { this.handle = handle; }

        // Undelivered: what a flush or shutdown has left or lost.
        public ulong Undelivered { get; private set; }

        public Status Check()
        {
            var report = new FlushReport { Size = (UIntPtr)Marshal.SizeOf(typeof(FlushReport)) };
            var status = Native.convert_question_check(handle, ref report);
            if (status != Status.Pending) Undelivered = report.Pending + report.Dropped;
            return status;
        }

        public void Dispose() { handle.Dispose(); }
    }

    // A core without threads, and its pump.
    public sealed class Sdk : IDisposable
    {
        internal readonly CoreHandle Core;
        readonly PumpHandle pump;

        // Endpoints other than Convert's may be null. Plain HTTP, to this machine alone, is for tests.
        public Sdk(string key, string configEndpoint = null, string trackEndpoint = null, bool plainHttpOnLoopback = false)
        {
            using (var sdkKey = new Passed(key))
            using (var config = new Passed(configEndpoint ?? ""))
            using (var track = new Passed(trackEndpoint ?? ""))
            {
                var options = new Config { Size = (UIntPtr)Marshal.SizeOf(typeof(Config)), SdkKey = sdkKey.Text, ForGameLoop = 1 };
                if (configEndpoint != null) options.ConfigBaseUrl = config.Text;
                if (trackEndpoint != null) options.TrackBaseUrl = track.Text;
                if (plainHttpOnLoopback) options.DangerAllowHttpOnLoopback = 1;
                if (Native.convert_core_new_pumped(ref options, out Core, out pump) != Status.Ok)
                    throw new ArgumentException(LastError);
            }
        }

        public static string LastError { get { return Native.convert_last_error().ToString(); } }

        public void Turn(ulong microseconds) { Native.convert_pump_turn(pump, microseconds, IntPtr.Zero); }

        public Request NextRequest()
        {
            RequestHandle request;
            return Native.convert_pump_next_request(pump, out request) == Status.Ok ? new Request(request) : null;
        }

        public void Answer(ulong id, int status, IDictionary<string, string> headers, byte[] body)
        {
            var passed = new List<Passed>();
            var raw = new List<RawHeader>();
            foreach (var header in headers)
            {
                var name = new Passed(header.Key);
                var value = new Passed(header.Value);
                passed.Add(name);
                passed.Add(value);
                raw.Add(new RawHeader { Name = name.Text, Value = value.Text });
            }
            using (var content = new Passed(body))
                Native.convert_pump_answer(pump, id, (ushort)status, raw.ToArray(), (UIntPtr)raw.Count, content.Text);
            passed.ForEach(text => text.Dispose());
        }

        public void Fail(ulong id, bool wasSent) { Native.convert_pump_fail(pump, id, wasSent ? 1u : 0u); }

        public Question Initialize()
        {
            QuestionHandle question;
            Native.convert_pump_initialize(pump, out question);
            return new Question(question);
        }

        public Question Shutdown(ulong milliseconds)
        {
            QuestionHandle question;
            Native.convert_pump_shutdown(pump, milliseconds, out question);
            return new Question(question);
        }

        public void Dispose()
        {
            pump.Dispose();
            Core.Dispose();
        }
    }

    // A feature of a visitor, until that changes or is disposed of.
    public sealed class Feature
    {
        readonly Visitor owner; // of the texts
        RawFeature raw;

        internal Feature(Visitor owner, RawFeature raw)
        {
            this.owner = owner;
            this.raw = raw;
        }

        // Without the variation's key.
        public Shown Shown
        {
            get
            {
                var shown = new Shown { ExperienceId = raw.ExperienceId.ToString(), VariationId = raw.VariationId.ToString() };
                GC.KeepAlive(owner);
                return shown;
            }
        }

        // Null if no variable has this name and type.
        public string Text(string variable)
        {
            RawText value;
            using (var key = new Passed(variable))
            {
                var text = Native.convert_feature_text(ref raw, key.Text, out value) == Status.Ok ? value.ToString() : null;
                GC.KeepAlive(owner);
                return text;
            }
        }

        public double? Number(string variable)
        {
            double value;
            using (var key = new Passed(variable))
            {
                var status = Native.convert_feature_number(ref raw, key.Text, out value);
                GC.KeepAlive(owner);
                return status == Status.Ok ? value : (double?)null;
            }
        }
    }

    // One player.
    public sealed class Visitor : IDisposable
    {
        readonly ContextHandle context;
        Visitor(ContextHandle context) { this.context = context; }

        // Null without a config.
        public static Visitor Of(Sdk sdk, string id)
        {
            ContextHandle context;
            using (var text = new Passed(id))
                return Native.convert_context_new(sdk.Core, text.Text, IntPtr.Zero, UIntPtr.Zero, out context) == Status.Ok
                    ? new Visitor(context) : null;
        }

        public Shown? Run(string experience)
        {
            var result = new RawExperience { Size = (UIntPtr)Marshal.SizeOf(typeof(RawExperience)) };
            using (var key = new Passed(experience))
                if (Native.convert_context_run_experience(context, key.Text, IntPtr.Zero, ref result) != Status.Ok) return null;
            var shown = new Shown { ExperienceId = result.ExperienceId.ToString(), VariationId = result.VariationId.ToString(),
                                    VariationKey = result.VariationKey.ToString() };
            GC.KeepAlive(this); // The texts are the context's.
            return shown;
        }

        // Null if the visitor does not have it.
        public Feature RunFeature(string feature)
        {
            var result = new RawFeature { Size = (UIntPtr)Marshal.SizeOf(typeof(RawFeature)) };
            using (var key = new Passed(feature))
                return Native.convert_context_run_feature(context, key.Text, IntPtr.Zero, ref result) == Status.Ok
                    ? new Feature(this, result) : null;
        }

        public bool Track(string goal, double revenue)
        {
            var amount = new GoalData[] { new GoalData { Key = 0, Kind = 2, Number = revenue } };
            var pin = GCHandle.Alloc(amount, GCHandleType.Pinned);
            using (var key = new Passed(goal))
            {
                var options = new ConversionOptions { Size = (UIntPtr)Marshal.SizeOf(typeof(ConversionOptions)),
                                                      Data = pin.AddrOfPinnedObject(), DataCount = (UIntPtr)1 };
                var status = Native.convert_context_track(context, key.Text, ref options);
                pin.Free();
                return status == Status.Ok;
            }
        }

        public void Dispose() { context.Dispose(); }
    }
}
